import datetime

from dateutil import parser, relativedelta, rrule, tz

START = datetime.datetime(2024, 1, 31)

OBJECTS = {
    "relativedelta": (lambda: relativedelta.relativedelta(months=1), lambda delta: (START + delta).day == 29),
    "parser": (parser.parser, lambda found: found.parse("31 January 2024") == START),
    "rrule": (lambda: rrule.rrule(rrule.DAILY, dtstart=START, count=3), lambda rule: len(list(rule)) == 3),
    "tzutc": (tz.tzutc, lambda utc: START.replace(tzinfo=utc).utcoffset() == datetime.timedelta(0)),
    "tzoffset": (lambda: tz.tzoffset("X", 3600), lambda zone: START.replace(tzinfo=zone).tzname() == "X"),
    "datetime": (lambda: parser.parse("2024-01-31T00:00:00Z"), lambda date: date.year == 2024 and date.isoformat()),
}
