import json

import pytest

from lora_core.files.merged_from import MergedFrom, merged_from

SOURCES, RECIPE = json.dumps([{"name": "a", "strength": 0.5}]), json.dumps({"method": "svd", "relative_error": 0.25})


def test_what_a_merge_wrote_is_read():
    assert merged_from({"merged_from": SOURCES, "merge": RECIPE}) == MergedFrom((("a", 0.5),), 0.25)


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"merged_from": SOURCES},
        {"merged_from": "a and b", "merge": RECIPE},
        {"merged_from": "3", "merge": RECIPE},
        {"merged_from": '["a"]', "merge": RECIPE},
        {"merged_from": SOURCES, "merge": "[" * 100_000},
        {"merged_from": SOURCES, "merge": '{"relative_error": "much"}'},
    ],
)
def test_what_others_wrote_under_these_names_is_left_alone(metadata):
    assert merged_from(metadata) is None
