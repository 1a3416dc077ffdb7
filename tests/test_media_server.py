"""The server of composed clips and archives."""

from pathlib import Path
from urllib.request import Request, urlopen

from workflow_scripts.media import server


def get(link: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    try:
        with urlopen(Request(link, headers=headers)) as answer:  # noqa: S310 - a loopback URL
            return answer.status, dict(answer.headers), answer.read()
    except OSError as error:
        return getattr(error, "code", 0), dict(getattr(error, "headers", {})), b""


def test_the_server_answers_ranges_of_its_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    content = bytes(range(100))
    (folder / "a b.bin").write_bytes(content)
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")
    with server.serve(folder) as base:
        file = server.url(base, "a b.bin")
        assert get(file)[::2] == (200, content)
        status, headers, body = get(file, Range="bytes=10-19")
        assert (status, headers["Content-Range"], body) == (206, "bytes 10-19/100", content[10:20])
        assert get(file, Range="bytes=90-")[::2] == (206, content[90:])
        assert get(file, Range="bytes=90-500")[::2] == (206, content[90:])
        assert get(file, Range="bytes=-5")[::2] == (206, content[-5:])
        status, headers, _ = get(file, Range="bytes=100-")
        assert (status, headers["Content-Range"]) == (416, "bytes */100")
        assert get(file, Range="bytes=x")[::2] == (200, content)
        for outside in ("../secret", "%2e%2e/secret", "/etc/passwd", "link", "", "absent"):
            assert get(base + outside)[0] == 404
