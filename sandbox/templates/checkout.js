(function () {
  "use strict";
  // The page works without any of this.
  var number = document.getElementById("number");
  if (number) {
    number.addEventListener("input", function () {
      var end = number.selectionStart === number.value.length;
      if (end) { number.value = number.value.replace(/\D/g, "").slice(0, 19).replace(/(.{4})(?=.)/g, "$1 "); }
    });
  }
  var expiry = document.getElementById("expiry");
  if (expiry) {
    expiry.addEventListener("input", function (event) {
      var digits = expiry.value.replace(/\D/g, "").slice(0, 4);
      if (event.inputType !== "deleteContentBackward") {
        expiry.value = digits.length < 2 ? digits : digits.slice(0, 2) + " / " + digits.slice(2);
      }
    });
  }
  if (document.querySelector("[data-waiting]")) {
    var look = function () {
      fetch(location.pathname + "/state").then(function (answer) { return answer.json(); }).then(function (now) {
        if (now.status === "success") { location.href = location.pathname + "/done"; }
        else if (now.step !== "waiting") { location.reload(); }
        else { setTimeout(look, 1500); }
      }, function () { setTimeout(look, 3000); });
    };
    setTimeout(look, 1000);
  }
})();
