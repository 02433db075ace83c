import requests
from requests.auth import HTTPBasicAuth
from requests.structures import CaseInsensitiveDict


def response():
    made = requests.Response()
    made.status_code, made._content, made.encoding = 200, b'{"a": 1}', "utf-8"
    return made


OBJECTS = {
    "CaseInsensitiveDict": (lambda: CaseInsensitiveDict(A="b"), lambda headers: headers["a"] == "b"),
    "HTTPBasicAuth": (lambda: HTTPBasicAuth("a", "b"), lambda auth: auth == HTTPBasicAuth("a", "b")),
    "Request": (
        lambda: requests.Request("GET", "http://host/", params={"a": 1}),
        lambda request: request.prepare().url == "http://host/?a=1",
    ),
    "PreparedRequest": (
        lambda: requests.Request("GET", "http://host/").prepare(),
        lambda request: request.copy().url == "http://host/",
    ),
    "Response": (response, lambda found: found.json() == {"a": 1} and found.ok),
    "Session": (requests.Session, lambda session: session.headers["Accept"] == "*/*"),
}
