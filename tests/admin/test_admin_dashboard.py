import gzip
import re
from importlib.resources import files

import pytest

from penstock.admin.dashboard.assets import OWN_FILES
from tests.admin.conftest import Api


def static(name: str) -> str:
    return files("penstock.admin.dashboard").joinpath("static", name).read_text()


async def test_the_page_and_everything_it_names_are_served(api: Api) -> None:
    page = await api.get("/")
    assert page.status == 200
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"
    named = re.findall(r'(?:src|href)="(/[^"]+)"', page.text)
    assert "/assets/app.js" in named
    for path in named:
        assert (await api.get(path)).status == 200


async def test_every_script_a_script_imports_is_served(api: Api) -> None:
    for name in OWN_FILES:
        if name.endswith(".js"):
            for imported in re.findall(r'from "\./([^"]+)"', (await api.get(f"/assets/{name}")).text):
                assert imported in OWN_FILES


def test_the_page_holds_no_inline_script_or_style_and_names_no_other_host() -> None:
    page = static("index.html")
    assert not re.search(r"<script(?![^>]*\bsrc=)", page)
    assert not re.search(r"<style|\sstyle=|\son\w+=", page)
    for name in ("index.html", *OWN_FILES):
        hosts = set(re.findall(r"https?://([^/\"'\s]+)", static(name)))
        assert hosts <= {"www.w3.org"}


@pytest.mark.parametrize("name", [name for name in OWN_FILES if name.endswith(".js")])
def test_no_script_turns_text_into_markup(name: str) -> None:
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", static(name))


def test_every_element_the_scripts_look_up_is_on_the_page() -> None:
    ids = set(re.findall(r'\bid="([^"]+)"', static("index.html")))
    for name in OWN_FILES:
        if name.endswith(".js"):
            assert set(re.findall(r'byId\("([^"]+)"\)', static(name))) <= ids


async def test_plotly_comes_from_the_installed_package_compressed_and_cacheable(api: Api) -> None:
    headers = {"Accept-Encoding": "gzip"}
    async with api.http.get(
        f"http://127.0.0.1:{api.port}/assets/plotly.min.js", headers=headers, auto_decompress=False
    ) as response:
        body = await response.read()
        tag = response.headers["ETag"]
        assert response.headers["Content-Encoding"] == "gzip"
        assert response.headers["Cache-Control"] == "public, max-age=86400"
    assert len(body) < 2_000_000
    assert b"plotly.js v" in gzip.decompress(body)[:200]
    again = await api.get("/assets/plotly.min.js", headers={"If-None-Match": tag})
    assert (again.status, again.text) == (304, "")


@pytest.mark.parametrize(
    "path", ["/assets/../app.py", "/assets/..%2f..%2fapp.py", "/assets/index.html", "/assets/nope"]
)
async def test_no_other_file_can_be_reached(api: Api, path: str) -> None:
    assert (await api.get(path)).status == 404
