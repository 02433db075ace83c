from pydantic_core import SchemaValidator, core_schema, to_json


def use(data):
    schema = core_schema.typed_dict_schema(
        {
            "names": core_schema.typed_dict_field(core_schema.list_schema(core_schema.str_schema())),
            "pair": core_schema.typed_dict_field(core_schema.dict_schema(core_schema.str_schema())),
            "anything": core_schema.typed_dict_field(core_schema.any_schema()),
        }
    )
    document = {"names": data["names"], "pair": data["pair"], "anything": data}
    valid = SchemaValidator(schema).validate_python(document)
    assert valid["names"] == data["names"]
    assert valid["anything"] is data
    assert to_json(data["pair"]) == b'{"a":1,"b":2.5}'
