"""AWS Signature Version 4, against the vectors that AWS publishes (the test suite of Signature Version 4)."""

import pytest

from penstock.signals.aws_signature import AwsCredentials, signed_headers

AT = 1_440_938_160.0
"""2015-08-30T12:36:00Z, as in all of them."""
KEY = AwsCredentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize(
    ("method", "headers", "body", "names", "signature"),
    [
        ("GET", {}, b"", "host;x-amz-date", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31"),
        ("POST", {}, b"", "host;x-amz-date", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
        (
            "POST",
            FORM,
            b"Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
        ),
    ],
    ids=["get-vanilla", "post-vanilla", "post-x-www-form-urlencoded"],
)
def test_the_signature_is_the_published_one(
    method: str, headers: dict[str, str], body: bytes, names: str, signature: str
) -> None:
    url = "https://example.amazonaws.com/"
    sent = signed_headers(url, headers, body, KEY, region="us-east-1", service="service", at=AT, method=method)
    assert sent["x-amz-date"] == "20150830T123600Z"
    assert sent["authorization"] == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={names}, Signature={signature}"
    )


def test_the_token_of_a_session_is_sent_and_signed() -> None:
    credentials = AwsCredentials(KEY.key_id, KEY.secret, "session")
    url = "https://example.amazonaws.com:443"
    sent = signed_headers(url, FORM, b"", credentials, region="us-east-1", service="service", at=AT)
    assert sent["x-amz-security-token"] == "session"
    assert "SignedHeaders=content-type;host;x-amz-date;x-amz-security-token," in sent["authorization"]


def test_credentials_tell_nothing_of_themselves() -> None:
    shown = repr(AwsCredentials("AKID", "hunter2", "token"))
    assert shown == "AwsCredentials()"
