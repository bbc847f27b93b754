"""Wall clocks of single processes that can be set while they run: a small library in C, preloaded, reads an offset."""

import shutil
import struct
import subprocess
from pathlib import Path

_SOURCE = Path(__file__).parent / "clock_step.c"


class SteppingClocks:
    """Compiles the library once; each process gets an offset of its own. `missing` says why there is none here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._library = folder / "clock_step.so"
        self.missing = self._compile()

    def environment(self, process: str) -> dict[str, str]:
        """What the process is started with."""
        if self.missing:
            return {}
        self.step(process, 0)
        return {"LD_PRELOAD": str(self._library), "CHAOS_CLOCK_OFFSET": str(self._offset(process))}

    def step(self, process: str, seconds: int) -> None:
        """Set the process's clock so far from the machine's, at once."""
        path = self._offset(process)
        if path.exists():
            # In place: the process has this very file mapped.
            with path.open("r+b") as file:
                file.write(struct.pack("=q", seconds))
        else:
            path.write_bytes(struct.pack("=q", seconds))

    def _offset(self, process: str) -> Path:
        return self._folder / f"clock-{process}"

    def _compile(self) -> str:
        compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
        if compiler is None:
            return "no C compiler (cc, gcc or clang) on PATH for the library that steps a process's clock"
        argv = [compiler, "-shared", "-fPIC", "-O2", "-o", str(self._library), str(_SOURCE), "-ldl"]
        answer = subprocess.run(argv, capture_output=True, text=True, check=False)
        return f"{compiler} failed: {answer.stderr[:300]}" if answer.returncode else ""
