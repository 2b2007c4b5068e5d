"""The part `log`: where events and the lines of all processes go. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tlsrt.config.collectors import Collector, OtlpConfig, SyslogConfig, check_endpoint, check_syslog
from tlsrt.config.setting import table, text

Format = Literal["auto", "text", "journal", "json"]


@dataclass(frozen=True, slots=True)
class LogConfig:
    """Where events and the lines of all processes go besides the log files."""

    format: Format = field(
        default="auto",
        metadata=text(
            "auto: the journal of systemd as a service of it, else text. text: lines for people on standard output. "
            "journal: entries with fields. json: one document a line on standard output, as in a container.",
            default="auto",
            choices=("auto", "text", "journal", "json"),
        ),
    )
    syslog: SyslogConfig = field(default=SyslogConfig(), metadata=table(SyslogConfig, check=check_syslog))
    otlp: OtlpConfig = field(default=OtlpConfig(), metadata=table(OtlpConfig, check=check_endpoint))

    @property
    def collectors(self) -> tuple[Collector, ...]:
        """Return the collectors that events and lines go to."""
        return (*self.syslog.collectors, *self.otlp.collectors)
