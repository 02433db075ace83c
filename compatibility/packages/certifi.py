import certifi

OBJECTS = {
    "where": (lambda: certifi.where, lambda where: where().endswith(".pem")),
    "contents": (lambda: certifi.contents, lambda contents: "BEGIN CERTIFICATE" in contents()),
}
