# SPDX-License-Identifier: GPL-3.0-or-later
"""How AWS is asked, and its errors in our words.

The login is found as every program of AWS finds it (environment, profile, role of the machine).
"""

from __future__ import annotations

import functools
import traceback
from typing import Any, Callable, Optional, TypeVar

from ..core.errors import AccessDenied, InvalidInput, MissingTool, ToolFailed
from .files import Interrupted, patiently

BOTO3_ERROR: Optional[str] = None
try:
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError, PartialCredentialsError
except ImportError:
    BOTO3_ERROR = traceback.format_exc()

_PASSING = (
    "RequestThrottled",
    "Throttling",
    "InternalServer",
    "ServiceUnavailable",
    "InternalError",
    "RequestLimitExceeded",
    "RequestTimeout",
)
_LOGIN = ("ExpiredToken", "InvalidClientTokenId", "AuthFailure", "UnrecognizedClient", "SignatureDoesNotMatch", "InvalidAccessKeyId")
_DENIED = ("AccessDenied", "UnauthorizedOperation")

T = TypeVar("T")


@functools.cache
def client(region: str, service: str) -> Any:
    """What speaks with a service; threads may share it."""
    if BOTO3_ERROR is not None:
        raise MissingTool(
            "boto3, which connects to AWS, is not installed for this Python.",
            "Install python3-boto3 (Debian, Ubuntu, Fedora, RHEL) or boto3 from PyPI.",
        )
    retries = {"max_attempts": 8, "mode": "standard"}
    try:
        return boto3.client(service, region_name=region, config=Config(retries=retries, max_pool_connections=64))
    except (BotoCoreError, ValueError) as error:
        raise InvalidInput(
            f"AWS cannot be reached in {region}: {error}.", "Write aws://REGION/INSTANCE, for example aws://eu-central-1/web01."
        ) from error


def ask(call: Callable[[], T]) -> T:
    """An answer of AWS. Raises Interrupted for what may pass, AccessDenied, InvalidInput for what is not there or not so, ToolFailed."""
    try:
        return call()
    except ClientError as error:
        code, said = str(error.response["Error"].get("Code", "")), str(error)
        if code.startswith(_PASSING):
            raise Interrupted(said) from error
        if code.startswith(_LOGIN):
            raise AccessDenied(
                said, "Log in on the conversion host (aws configure, AWS_PROFILE, or a role of the machine), then run again."
            ) from error
        if code.startswith(_DENIED):
            raise AccessDenied(
                said,
                "The login needs ec2:Describe*, ec2:CreateSnapshots, ec2:CreateTags, ec2:DeleteSnapshot, ebs:ListSnapshotBlocks and ebs:GetSnapshotBlock;"
                " kms:Decrypt for encrypted volumes.",
            ) from error
        raise InvalidInput(
            said, "Write aws://REGION/INSTANCE (or an image or a snapshot) as `aws ec2 describe-instances` has them."
        ) from error
    except (NoCredentialsError, PartialCredentialsError) as error:
        raise AccessDenied(
            f"AWS: {error}.", "Log in on the conversion host (aws configure, AWS_PROFILE, or a role of the machine), then run again."
        ) from error
    except HTTPClientError as error:
        raise Interrupted(str(error)) from error
    except BotoCoreError as error:
        raise ToolFailed(f"AWS cannot be reached: {error}.", "Correct the cause, then run again.") from error


def asked(call: Callable[[], T]) -> T:
    """The same, patiently."""
    return patiently(lambda: ask(call), "AWS")
