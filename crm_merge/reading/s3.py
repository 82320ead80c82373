"""S3 for all who read from it and write to it: addresses checked, one client's settings, errors as sentences.

Credentials, region and endpoint are boto3's own (``AWS_…`` variables, files, roles).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlsplit

import urllib3

from crm_merge.reading import FileProblem, NotThere

CONNECT, READ = 10, 60  # seconds to wait for a connection, and for the next byte
RETRIES = 5  # of a request; boto3 waits before each, longer every time, with some chance in it

QUERY = re.compile(r"\?[\w.~%-]+=")  # in a path that has none: as in a URL that was pasted
CONTROL = re.compile(r"[\x00-\x1f\x7f]")
ERRORS = {
    "NoSuchBucket": "there is no bucket '{bucket}'",
    "AccessDenied AllAccessDisabled Forbidden 403 401": "access to the bucket '{bucket}' is denied to the credentials found{more}",
    "SignatureDoesNotMatch InvalidAccessKeyId InvalidToken": "the access key, its secret or its session token is not "
    "accepted ({code})",
    "ExpiredToken RequestTimeTooSkewed": "the credentials have expired, or this machine's clock is wrong ({code})",
    "PermanentRedirect 301 AuthorizationHeaderMalformed": "the bucket '{bucket}' is in another region; set AWS_REGION",
    "InvalidObjectState": "it is archived; restore it first",
}
DENIED = {
    "read": ", or the file is not there and they may not list",
    "written": "; it takes s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject and s3:AbortMultipartUpload",
}
# What a server says that is too busy, besides all that it says with a status of 429 or from 500
BUSY = {"SlowDown", "Throttling", "ThrottlingException", "RequestLimitExceeded", "RequestTimeout", "InternalError",
        "ServiceUnavailable", "OperationAborted", "500", "502", "503", "504"}  # fmt: skip


def climbs(path: str) -> bool:
    """Says whether a URL's path has `.` or `..` as a folder: servers differ in what they make of it, also when it is
    encoded (twice), and it could leave an allowed prefix.
    """  # fmt: skip
    return bool({".", ".."} & set(re.split(r"[/\\;]", unquote(unquote(path)))))


def address(url: str) -> tuple[str, str]:
    """Returns (bucket, key) of ``s3://bucket/key``; raises FileProblem, which repeats nothing that may be a secret."""
    if CONTROL.search(url):
        raise FileProblem("an s3:// path must not hold a control character (a line end, a tab, a NUL)")
    bucket, _, key = url.strip().partition("://")[2].partition("/")
    if "@" in bucket or ":" in bucket:
        raise FileProblem(
            "a s3:// path must not hold a user name or password; use AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    if climbs(key):
        raise FileProblem("a s3:// path must not hold '.' or '..' as a folder")
    if QUERY.search(key):
        raise FileProblem(
            "an s3:// path takes no query; write s3://bucket/key, and credentials in the environment"
        )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}", bucket):
        raise FileProblem("an s3:// path must name a bucket: s3://bucket/key")
    return bucket, key


def client(connections: int = 10) -> Any:
    """Returns a client with boto3's own ways to find credentials, region and endpoint, for so many connections at once."""
    import boto3  # here: it takes a third of a second, and most merges are local
    from botocore.config import Config

    own_server = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    config = Config(
        retries={"mode": "standard", "max_attempts": RETRIES},
        connect_timeout=CONNECT,
        read_timeout=READ,
        max_pool_connections=connections,
        s3={"addressing_style": "path" if own_server else "auto"},  # few own servers have a name per bucket
    )
    return boto3.session.Session().client("s3", config=config)


def etag(entry: dict[str, Any]) -> str:
    """Returns the ETag of a listed or requested object in its quotes, which some servers leave out; or ''."""
    found = entry.get("ETag", "").strip('"')
    return f'"{found}"' if found else ""


@contextmanager
def words(shown: str, bucket: str, listed: str = "", done: str = "read") -> Iterator[None]:
    """Turns boto3's errors into sentences of our own: its texts may hold a signed URL.

    ``shown`` is what is asked for, ``listed`` the ETag that it had in a listing, ``done`` what is to be done with it: 'read'
    or 'written'. Raises FileProblem, NotThere where that is what is wrong.
    """
    import botocore.exceptions as errors
    from botocore.parsers import ResponseParserError

    try:
        yield
    except errors.ClientError as error:
        answer = error.response
        code = str(answer.get("Error", {}).get("Code", ""))
        status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode") or 0
        if listed and code in ("NoSuchKey", "404", "PreconditionFailed", "412"):
            raise FileProblem(f"'{shown}' changed while it was read; run again") from None
        if code in ("NoSuchKey", "404"):
            raise NotThere(f"there is no file '{shown}'") from None
        for codes, sentence in ERRORS.items():
            if code in codes.split():
                sentence = sentence.format(bucket=bucket, code=code, more=DENIED[done])
                raise FileProblem(f"'{shown}': {sentence}") from None
        busy = code in BUSY or status == 429 or status >= 500
        code = code if re.fullmatch(r"\w{1,60}", code) else "an error"
        raise FileProblem(
            f"'{shown}' can't be {done}: the S3 server answers {code}", transient=busy
        ) from None
    except (
        errors.NoCredentialsError, errors.PartialCredentialsError, errors.CredentialRetrievalError,
        errors.ProfileNotFound, errors.NoAuthTokenError, errors.TokenRetrievalError, errors.SSOError,
    ):  # fmt: skip
        raise FileProblem(
            f"'{shown}': no credentials for S3 were found; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or "
            "AWS_PROFILE to a profile that has them"
        ) from None
    except (errors.ConnectionError, errors.HTTPClientError, urllib3.exceptions.HTTPError) as error:
        # also of a connection that breaks while hands are shaken, which says nothing of the certificate
        if isinstance(error, errors.SSLError) and "certificate" in str(error).lower():
            raise FileProblem(
                f"'{shown}': the S3 endpoint's certificate is not trusted (see AWS_CA_BUNDLE)"
            ) from None
        url = getattr(error, "kwargs", {}).get("endpoint_url") or ""
        where = f" {urlsplit(str(url)).netloc.rpartition('@')[2]}" if url else ""
        raise FileProblem(f"'{shown}': the S3 endpoint{where} can't be reached", transient=True) from None
    except errors.IncompleteReadError:
        raise FileProblem(f"'{shown}' broke off midway; try again later", transient=True) from None
    except (errors.BotoCoreError, ResponseParserError, ValueError) as error:
        raise FileProblem(
            f"'{shown}' can't be {done} with the AWS settings of this environment ({type(error).__name__})"
        ) from None
