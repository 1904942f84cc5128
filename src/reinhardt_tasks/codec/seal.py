"""Signing and encryption of what is stored at the broker, with rotation of keys.

Frames, by their first bytes (0xc1 never begins MessagePack):

    (anything else)         the payload as it is
    c1 01 <32> <rest>       HMAC-SHA256 over the context and the rest; the rest is a payload or an encrypted frame
    c1 02 <token>           a Fernet token, as bytes, of the context and the payload
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from collections.abc import Sequence
from typing import TYPE_CHECKING

from reinhardt_tasks.errors import ConfigurationError, SignatureError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

_SIGNED = b"\xc1\x01"
_ENCRYPTED = b"\xc1\x02"
_MAC = 32  # bytes
_SHORTEST_KEY = 16  # characters
_FRESH = "Generate one with `python -c 'import secrets; print(secrets.token_urlsafe(32))'`"


class Seal:
    """Closes payloads so that nobody without the keys can change (`secret_keys`) or read (`encryption_keys`) them.

    The first key of each list closes, any of them opens: to rotate, put the new key first and drop the old one once
    nothing closed with it is left. With both lists, the encrypted form is signed; with neither, nothing is changed.

    Keys are text of 16 characters or more and should be random: they are hashed to their use, not stretched.

    Raises ConfigurationError for a short key, and for `encryption_keys` without the `cryptography` package.
    """

    def __init__(self, secret_keys: Sequence[str] = (), encryption_keys: Sequence[str] = ()) -> None:
        self._secrets = [_derived(key, "sign") for key in _checked(secret_keys, "secret_keys")]
        self._cipher = _cipher(encryption_keys) if encryption_keys else None

    def close(self, payload: bytes, context: bytes = b"") -> bytes:
        """The payload, MessagePack, in a frame that `open` takes with the same `context` (the id of a result)."""
        frame = payload
        if self._cipher is not None:
            token = self._cipher.encrypt(_bound(context, payload))
            frame = _ENCRYPTED + base64.urlsafe_b64decode(token)
        if self._secrets:
            frame = _SIGNED + _mac(self._secrets[0], context, frame) + frame
        return frame

    def open(self, sealed: bytes, context: bytes = b"") -> bytes:
        """The payload in a frame.

        Raises SignatureError unless it was closed with one of the keys, all kinds of them, for this `context`, and is
        unchanged to the last bit.
        """
        return self._decrypted(self._verified(sealed, context), context)

    def _verified(self, sealed: bytes, context: bytes) -> bytes:
        """What is inside the signed frame; `sealed` itself where nothing is to be signed."""
        signed = sealed.startswith(_SIGNED)
        if not self._secrets:
            if signed:
                raise SignatureError(
                    "The payload is signed, but no `secret_keys` are set here: set those of its sender."
                )
            return sealed
        if not signed:
            raise SignatureError(
                "The payload is not signed, and `secret_keys` are set here: set them at its sender too."
            )
        start = len(_SIGNED) + _MAC
        mac, rest = sealed[len(_SIGNED) : start], sealed[start:]
        if not any(hmac.compare_digest(mac, _mac(key, context, rest)) for key in self._secrets):
            raise SignatureError(
                "The payload's signature is wrong: it was changed on the way, moved to another place, or signed with "
                "a key that is not in `secret_keys` here. Add it if it was dropped too early, else find the writer."
            )
        return rest

    def _decrypted(self, frame: bytes, context: bytes) -> bytes:
        """The payload inside the encrypted frame; `frame` itself where nothing is to be encrypted."""
        encrypted = frame.startswith(_ENCRYPTED)
        if self._cipher is None:
            if encrypted:
                raise SignatureError(
                    "The payload is encrypted, but no `encryption_keys` are set here: set those of its sender."
                )
            return frame
        if not encrypted:
            raise SignatureError(
                "The payload is not encrypted, and `encryption_keys` are set here: set them at its sender too."
            )
        return _unbound(context, self._token_content(self._cipher, frame[len(_ENCRYPTED) :]))

    @staticmethod
    def _token_content(cipher: MultiFernet, token: bytes) -> bytes:
        from cryptography.fernet import InvalidToken  # noqa: PLC0415 - an extra

        try:
            return cipher.decrypt(base64.urlsafe_b64encode(token))
        except InvalidToken as error:
            raise SignatureError(
                "The payload cannot be decrypted: it was changed on the way, or encrypted with a key that is not in "
                "`encryption_keys` here. Add it if it was dropped too early, else find the writer."
            ) from error


def _checked(keys: Sequence[str], setting: str) -> Sequence[str]:
    """The keys, if each is text long enough to be one."""
    if isinstance(keys, str):
        raise ConfigurationError(f"{setting} is a single text; give a list of keys.", setting=setting)
    for index, key in enumerate(keys):
        if len(key) < _SHORTEST_KEY:
            raise ConfigurationError(
                f"{setting}[{index}] has {len(key)} characters; a key has {_SHORTEST_KEY} or more. {_FRESH}.",
                setting=setting,
            )
    return keys


def _derived(key: str, use: str) -> bytes:
    """32 bytes for one use alone, so that a key given for two uses is not the same key in both."""
    return hashlib.sha256(f"reinhardt-tasks {use} 1\0{key}".encode()).digest()


def _cipher(keys: Sequence[str]) -> MultiFernet:
    try:
        from cryptography.fernet import Fernet, MultiFernet  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise ConfigurationError(
            "encryption_keys needs the cryptography package: install reinhardt-tasks[crypto].",
            setting="encryption_keys",
        ) from error
    checked = _checked(keys, "encryption_keys")
    return MultiFernet([Fernet(base64.urlsafe_b64encode(_derived(key, "encrypt"))) for key in checked])


def _bound(context: bytes, rest: bytes) -> bytes:
    """The context with its length in front, then the rest: no two pairs give the same bytes."""
    return len(context).to_bytes(4, "big") + context + rest


def _unbound(context: bytes, content: bytes) -> bytes:
    """The rest, if the content was bound to this context."""
    start = _bound(context, b"")
    if not content.startswith(start):
        raise SignatureError(
            "The payload belongs to another message: it was encrypted with these keys, but stored in the wrong place. "
            "Find out who moved it."
        )
    return content[len(start) :]


def _mac(key: bytes, context: bytes, rest: bytes) -> bytes:
    return hmac.digest(key, _bound(context, rest), "sha256")
