"""The committed description of the API is that of the code, and names what there is."""

from pathlib import Path

from coordinator.web.endpoints import ENDPOINTS
from coordinator.web.openapi import document, main


def test_the_committed_file_is_the_one_that_the_code_generates(tmp_path: Path) -> None:
    assert main(["--check"]) == 0, "run: python -m coordinator.web.openapi --write"
    assert main(["--check"], tmp_path / "none.json") == 1


def test_every_endpoint_is_described_with_its_parameters_and_body() -> None:
    described = document()
    for endpoint in ENDPOINTS:
        operation = described["paths"][endpoint.path][endpoint.method.lower()]
        named = {one["name"] for one in operation["parameters"]}
        assert all(
            name in named for name in endpoint.path.split("{")[1:] for name in [name.partition("}")[0]]
        )
        if endpoint.query is not None:
            assert endpoint.query.model_fields.keys() <= named
        if endpoint.body is not None:
            reference = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"]
            assert reference.rpartition("/")[2] in described["components"]["schemas"]


def test_what_changes_something_is_posted_and_says_what_it_takes() -> None:
    assert all((endpoint.method == "POST") == (endpoint.body is not None) for endpoint in ENDPOINTS)
