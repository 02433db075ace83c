import idna
import idna.idnadata

OBJECTS = {
    "encode": (lambda: idna.encode, lambda encode: encode("ドメイン.テスト") == b"xn--eckwd4c7c.xn--zckzah"),
    "decode": (lambda: idna.decode, lambda decode: decode("xn--zckzah") == "テスト"),
    "tables": (lambda: idna.idnadata.scripts, lambda scripts: "Greek" in scripts),
}
