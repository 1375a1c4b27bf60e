"""Key files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.transport.curve import ALLOWED_FILE, Keys, KeysError, generate, load


def test_keys_are_made_private_and_read_back(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    paths = generate(directory, ["n1", "n2", "alice"])
    assert [path.name for path in paths] == ["n1.toml", "n2.toml", "alice.toml"]
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    first, second = load(paths[0]), load(paths[1])
    assert first.name == "n1"
    assert first.public_key_of("n2") == second.public
    assert set(first.allowed) == {"n1", "n2", "alice"}
    assert first.secret.decode() not in (directory / ALLOWED_FILE).read_text()


def test_more_names_are_added_and_no_key_is_replaced(tmp_path: Path) -> None:
    directory = tmp_path / "keys"
    generate(directory, ["n1"])
    before = load(directory / "n1.toml")
    with pytest.raises(KeysError, match="is there already"):
        generate(directory, ["n2", "n1"])
    assert not (directory / "n2.toml").exists(), "all or nothing"
    generate(directory, ["n2"])
    after = load(directory / "n1.toml")
    assert (before.public, before.secret) == (after.public, after.secret)
    assert set(after.allowed) == {"n1", "n2"}


def test_a_name_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match="twice"):
        generate(tmp_path / "keys", ["n1", "n1"])


def test_files_open_to_others_are_not_trusted(tmp_path: Path) -> None:
    (path,) = generate(tmp_path / "keys", ["n1"])
    path.chmod(0o640)
    with pytest.raises(KeysError, match="chmod"):
        load(path)
    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(KeysError, match="chmod"):
        generate(tmp_path / "keys", ["n2"])


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "lacks a key"),
        ("this is not TOML", "no key file"),
        ('name = "n1"\npublic = "short"\nsecret = "short"', "lacks a key"),
        (f'name = "n1"\npublic = "{"~" * 40}"\nsecret = "{"a" * 40}"', "characters that keys do not have"),
    ],
)
def test_what_is_no_key_file_is_refused_with_the_reason(tmp_path: Path, text: str, complaint: str) -> None:
    (path,) = generate(tmp_path / "keys", ["n1"])
    path.write_text(text)
    with pytest.raises(KeysError, match=complaint):
        load(path)


def test_halves_of_two_keys_are_refused(tmp_path: Path) -> None:
    one, two = generate(tmp_path / "keys", ["n1", "n2"])
    lines, others = one.read_text().splitlines(), two.read_text().splitlines()
    one.write_text("\n".join([*lines[:-1], others[-1]]))
    with pytest.raises(KeysError, match="do not belong together"):
        load(one)


def test_a_missing_file_or_peer_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(KeysError, match=r"n9\.toml cannot be read"):
        load(tmp_path / "n9.toml")
    (path,) = generate(tmp_path / "keys", ["n1"])
    with pytest.raises(KeysError, match="no public key of n9"):
        load(path).public_key_of("n9")


def test_a_secret_is_not_shown(tmp_path: Path) -> None:
    (path,) = generate(tmp_path / "keys", ["n1"])
    keys: Keys = load(path)
    assert keys.secret.decode() not in f"{keys!r} {keys}"


def test_a_list_or_a_directory_that_others_can_change_is_not_trusted(tmp_path: Path) -> None:
    (path,) = generate(tmp_path / "keys", ["n1"])
    allowed = path.with_name(ALLOWED_FILE)
    for mode in (0o666, 0o620, 0o602):
        allowed.chmod(mode)
        with pytest.raises(KeysError, match=r"changed by others .*chmod go-w"):
            load(path)
    allowed.chmod(0o644)
    load(path)
    for place in (tmp_path / "keys", tmp_path):
        mode = place.stat().st_mode
        place.chmod(0o777)
        with pytest.raises(KeysError, match="changed by others"):
            load(path)
        place.chmod(mode)
    load(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_keys_that_belong_to_another_user_are_not_trusted(tmp_path: Path) -> None:
    (path,) = generate(tmp_path / "keys", ["n1"])
    for place in (path, path.with_name(ALLOWED_FILE), path.parent, tmp_path):
        os.chown(place, 12345, -1)
        with pytest.raises(KeysError, match="another user"):
            load(path)
        os.chown(place, 0, -1)
    load(path)
