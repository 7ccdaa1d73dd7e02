# SPDX-License-Identifier: GPL-3.0-or-later
"""VMs of AWS: aws://REGION/INSTANCE. What was made by others, an image or a snapshot, is read and stays."""

from __future__ import annotations

from ..transport.aws import Aws
from .cloud import CloudSource
from .source import Source

SOURCE: Source = CloudSource("aws", "aws://REGION/INSTANCE (its id, or its Name; or the id of an image or a snapshot)", 2, Aws, ("boto3",))
