"""The sentences of air quality stations."""

from __future__ import annotations

from gateway.services.sentence import Word
from gateway.spool.records import Severity

WORDS = {
    "air.pm25_advisory": Word(
        Severity.MAJOR,
        "city",
        "PM2.5 advisory level at {subject}: {value:.0f} ug/m3, at least {limit:.0f} for {hours}",
        "{subject} 초미세먼지(PM2.5) 주의보 수준: {value:.0f} ㎍/㎥, {hours} 이상 {limit:.0f} 지속",
        "PM2.5 at {subject} fell below the advisory's clear level: {value:.0f} ug/m3",
        "{subject} 초미세먼지(PM2.5) 주의보 해제 수준: {value:.0f} ㎍/㎥",
    ),
    "air.pm25_warning": Word(
        Severity.CRITICAL,
        "city",
        "PM2.5 warning level at {subject}: {value:.0f} ug/m3, at least {limit:.0f} for {hours}",
        "{subject} 초미세먼지(PM2.5) 경보 수준: {value:.0f} ㎍/㎥, {hours} 이상 {limit:.0f} 지속",
        "PM2.5 at {subject} fell below the warning's clear level: {value:.0f} ug/m3",
        "{subject} 초미세먼지(PM2.5) 경보 해제 수준: {value:.0f} ㎍/㎥",
    ),
    "air.pm10_advisory": Word(
        Severity.MAJOR,
        "city",
        "PM10 advisory level at {subject}: {value:.0f} ug/m3, at least {limit:.0f} for {hours}",
        "{subject} 미세먼지(PM10) 주의보 수준: {value:.0f} ㎍/㎥, {hours} 이상 {limit:.0f} 지속",
        "PM10 at {subject} fell below the advisory's clear level: {value:.0f} ug/m3",
        "{subject} 미세먼지(PM10) 주의보 해제 수준: {value:.0f} ㎍/㎥",
    ),
    "air.pm10_warning": Word(
        Severity.CRITICAL,
        "city",
        "PM10 warning level at {subject}: {value:.0f} ug/m3, at least {limit:.0f} for {hours}",
        "{subject} 미세먼지(PM10) 경보 수준: {value:.0f} ㎍/㎥, {hours} 이상 {limit:.0f} 지속",
        "PM10 at {subject} fell below the warning's clear level: {value:.0f} ug/m3",
        "{subject} 미세먼지(PM10) 경보 해제 수준: {value:.0f} ㎍/㎥",
    ),
}
