from assets import keys


def every_key() -> list[list[str]]:
    return [value for value in vars(keys).values() if isinstance(value, list)]


def test_a_key_is_a_stage_and_a_name() -> None:
    for key in [*every_key(), keys.checkpoint("sasrec"), keys.ranks("sasrec")]:
        stage, name = key
        assert stage in keys.STAGES
        assert name.isidentifier()


def test_no_two_keys_are_equal() -> None:
    listed = [*every_key(), keys.checkpoint("a"), keys.checkpoint("b"), keys.ranks("a"), keys.ranks("b")]
    assert len({tuple(key) for key in listed}) == len(listed)
