"""Which sanitizer this interpreter was built with, if any."""

import sysconfig

_CONFIGURED = sysconfig.get_config_var("CONFIG_ARGS") or ""

SANITIZED = "sanitizer" in _CONFIGURED
UNDER_TSAN = "thread-sanitizer" in _CONFIGURED
