import urllib3
from urllib3.util import Retry, Timeout, Url, parse_url

OBJECTS = {
    "Url": (lambda: parse_url("https://name@host:1/path?query"), lambda url: isinstance(url, Url) and url.port == 1),
    "HTTPHeaderDict": (lambda: urllib3.HTTPHeaderDict({"A": "b"}), lambda headers: headers["a"] == "b"),
    "Retry": (lambda: Retry(3, backoff_factor=0.1), lambda retry: retry.increment("GET", "/").total == 2),
    "Timeout": (lambda: Timeout(connect=1, read=2), lambda timeout: timeout.clone().connect_timeout == 1),
    "PoolManager": (lambda: urllib3.PoolManager(), lambda pool: pool.connection_from_url("http://host").host == "host"),
}
