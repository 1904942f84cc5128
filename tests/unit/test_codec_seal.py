"""The seal: what was changed, moved, or closed with other keys is never opened."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reinhardt_tasks.codec import Seal
from reinhardt_tasks.errors import ConfigurationError, SerializationError, SignatureError

OLD, NEW, OTHER = "an old key, long enough", "a new key, long enough", "a key of someone else"
PAYLOAD = b"\x81\xa4text\xa5hello"
SIGNED = Seal([NEW])
ENCRYPTED = Seal(encryption_keys=[NEW])
BOTH = Seal([NEW], [NEW])
KEYED = [
    pytest.param(SIGNED, id="signed"),
    pytest.param(ENCRYPTED, id="encrypted"),
    pytest.param(BOTH, id="signed and encrypted"),
]


@pytest.mark.parametrize("seal", [*KEYED, pytest.param(Seal(), id="no keys")])
@given(payload=st.binary().filter(lambda payload: payload[:1] != b"\xc1"), context=st.binary(max_size=20))
def test_what_was_closed_opens_again(seal, payload, context):
    """The payload comes back to the last bit. (None begins with 0xc1, as MessagePack never does.)"""
    assert seal.open(seal.close(payload, context), context) == payload


def test_without_keys_a_payload_is_left_as_it_is():
    """No keys, no bytes, no time."""
    assert Seal().close(PAYLOAD, b"context") == PAYLOAD
    assert Seal().open(PAYLOAD, b"another") == PAYLOAD


def test_frames_have_the_form_their_module_draws():
    """Other languages may write them."""
    assert SIGNED.close(PAYLOAD)[:2] == b"\xc1\x01"
    assert SIGNED.close(PAYLOAD)[34:] == PAYLOAD
    assert ENCRYPTED.close(PAYLOAD)[:2] == b"\xc1\x02"
    assert BOTH.close(PAYLOAD)[34:36] == b"\xc1\x02"


@pytest.mark.parametrize("seal", KEYED)
def test_any_flipped_bit_is_refused(seal):
    """Every bit of the frame is covered, the framing and the padding too."""
    frame = seal.close(PAYLOAD, b"id")
    for index in range(len(frame)):
        for bit in range(8):
            changed = bytearray(frame)
            changed[index] ^= 1 << bit
            with pytest.raises(SignatureError):
                seal.open(bytes(changed), b"id")


@pytest.mark.parametrize("seal", KEYED)
def test_any_cut_or_addition_is_refused(seal):
    """A frame is whole or nothing."""
    frame = seal.close(PAYLOAD)
    for length in range(len(frame)):
        with pytest.raises(SignatureError):
            seal.open(frame[:length])
    for more in (b"\x00", b"=", frame):
        with pytest.raises(SignatureError):
            seal.open(frame + more)


@pytest.mark.parametrize("seal", KEYED)
@given(
    frame=st.binary(max_size=80).flatmap(lambda rest: st.sampled_from([rest, b"\xc1\x01" + rest, b"\xc1\x02" + rest]))
)
def test_bytes_of_somebody_else_are_refused(seal, frame):
    """Whoever can write to the broker cannot make a task run."""
    with pytest.raises(SignatureError):
        seal.open(frame)


@pytest.mark.parametrize("seal", KEYED)
def test_a_frame_moved_to_another_context_is_refused(seal):
    """The result of one message cannot be put under the id of another."""
    frame = seal.close(PAYLOAD, b"id-1")
    for context in (b"id-2", b"", b"id-", b"id-11"):
        with pytest.raises(SignatureError):
            seal.open(frame, context)


@pytest.mark.parametrize("seal", KEYED)
def test_context_and_payload_cannot_be_shifted_into_each_other(seal):
    """The boundary between the two is part of what is signed."""
    frame = seal.close(b"bc", b"a")
    with pytest.raises(SignatureError):
        seal.open(frame[:-2] + b"c" if seal is SIGNED else frame, b"ab")


def test_keys_rotate():
    """The new key in front, the old one behind it: both open; once the old one is gone, only the new one does."""
    before, during, after = (Seal(keys, keys) for keys in ([OLD], [NEW, OLD], [NEW]))
    assert during.open(before.close(PAYLOAD)) == PAYLOAD
    assert after.open(during.close(PAYLOAD)) == PAYLOAD
    with pytest.raises(SignatureError, match=r"not in `secret_keys` here\. Add it if it was dropped too early"):
        after.open(before.close(PAYLOAD))


def test_a_frame_encrypted_with_another_key_is_refused_with_the_remedy():
    """The error names the setting."""
    with pytest.raises(SignatureError, match=r"not in `encryption_keys` here\. Add it"):
        ENCRYPTED.open(Seal(encryption_keys=[OTHER]).close(PAYLOAD))


@pytest.mark.parametrize(
    ("closed", "opened", "said"),
    [
        (SIGNED, Seal(), "is signed, but no `secret_keys` are set here"),
        (ENCRYPTED, Seal(), "is encrypted, but no `encryption_keys` are set here"),
        (BOTH, Seal(), "is signed, but no `secret_keys` are set here"),
        (BOTH, SIGNED, "is encrypted, but no `encryption_keys` are set here"),
        (Seal(), SIGNED, "is not signed, and `secret_keys` are set here"),
        (Seal(), ENCRYPTED, "is not encrypted, and `encryption_keys` are set here"),
        (ENCRYPTED, BOTH, "is not signed, and `secret_keys` are set here"),
        (SIGNED, BOTH, "is not encrypted, and `encryption_keys` are set here"),
        (SIGNED, ENCRYPTED, "is signed, but no `secret_keys` are set here"),
    ],
)
def test_sides_with_different_settings_are_told_which_one(closed, opened, said):
    """A forgotten setting is the likeliest cause, so the error names it and the side."""
    with pytest.raises(SignatureError, match=said) as caught:
        opened.open(closed.close(PAYLOAD))
    assert isinstance(caught.value, SerializationError)


def test_one_key_for_both_uses_is_not_the_same_key_in_both():
    """What is known of one use tells nothing about the other."""
    fernet = BOTH._cipher._fernets[0]  # noqa: SLF001 - keys have no public face
    assert BOTH._secrets[0] != fernet._signing_key + fernet._encryption_key  # noqa: SLF001


@pytest.mark.parametrize("setting", ["secret_keys", "encryption_keys"])
@pytest.mark.parametrize("bad", ["", "fifteen letters"])
def test_short_keys_are_refused_without_showing_them(setting, bad):
    """The error names the setting, the position and a way to make a good one."""
    with pytest.raises(ConfigurationError, match=rf"{setting}\[1\] has {len(bad)} characters.*token_urlsafe") as caught:
        Seal(**{setting: [NEW, bad]})
    assert caught.value.setting == setting
    assert not bad or bad not in str(caught.value)


@pytest.mark.parametrize("setting", ["secret_keys", "encryption_keys"])
def test_a_single_text_in_place_of_a_list_is_refused(setting):
    """Each of its letters would be a key."""
    with pytest.raises(ConfigurationError, match=f"{setting} is a single text; give a list"):
        Seal(**{setting: NEW})


def test_encryption_without_its_package_names_the_extra(monkeypatch):
    """Only those who encrypt need it."""
    monkeypatch.setitem(sys.modules, "cryptography.fernet", None)
    with pytest.raises(ConfigurationError, match=r"install reinhardt-tasks\[crypto\]"):
        Seal(encryption_keys=[NEW])
    assert Seal([NEW]).open(Seal([NEW]).close(PAYLOAD)) == PAYLOAD
