from lxml import etree


def use(data):
    root = etree.Element("root", data["text"])
    for name in data["names"]:
        etree.SubElement(root, "name").text = name
    parsed = etree.fromstring(etree.tostring(root))
    assert [element.text for element in parsed.iterfind("name")] == data["names"]
    assert parsed.xpath("//name[text()=$wanted]", wanted=data["names"][1])[0].text == data["names"][1]
    assert dict(parsed.attrib) == data["text"]
