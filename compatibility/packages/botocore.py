import botocore.session
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.model import Shape

OBJECTS = {
    "Config": (lambda: Config(region_name="a"), lambda config: config.merge(Config(retries={})).region_name == "a"),
    "Credentials": (lambda: Credentials("a", "b"), lambda found: found.get_frozen_credentials().access_key == "a"),
    "Shape": (lambda: Shape("a", {"type": "string"}), lambda shape: shape.type_name == "string"),
    "Session": (botocore.session.Session, lambda session: "s3" in session.get_available_services()),
}
