"""The API's own description: an OpenAPI 3.1 document made from the models that requests and answers are held to."""
