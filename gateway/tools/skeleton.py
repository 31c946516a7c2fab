"""What `citygate profile new` writes: a profile with every key that most devices need, to be filled in. It is valid as
it stands, and shown as unproven until it has a capture."""

from __future__ import annotations

HEAD = """schema = 1
# Every key: docs/profiles.md. From a manual page to a working device: docs/adding-a-device.md.

[device]
family = "{family}"
vendor = "{vendor}" # as on the label
model = "{model}"
name = {{ en = "{model}", ko = "{model}" }} # for people
protocol = "{protocol}"
source = "manual, revision and section" # where every fact below comes from
period_s = 1.0
# caveats = ["what whoever installs it must know"]
# firmware = ["versions it was seen with"]
"""

POINT = """
[[points]]
name = "value" # its channel is device.value
label = {{ en = "Value", ko = "값" }}
unit = "" # a SenML name: V, A, W, Cel, %RH, m3/h ... (docs/profiles.md)
# scale = 0.1 # value = raw * scale + offset
# range = [0, 100] # believable; what is outside is marked
# role = "flow" # what a service knows it as
"""

CAPTURE = """
# An exchange that proves the decoding; without one the device is shown as unproven.
# [[captures]]
# source = "read from the device on the bench, firmware 1.2"
# request = "{request}"
# reply = "{reply}"
# values = {{ value = 230.1 }}
"""

SKELETONS = {
    "modbus": """
[link]
baud = 9600
parity = "N"
stop_bits = 1
"""
    + POINT
    + """function = 3 # 1 coils, 2 discrete inputs, 3 holding registers, 4 input registers
address = 0 # as on the wire, from 0: "40001" and "register 1" of a manual are 0
type = "uint16"
# order = "ABCD" # of 32 bits and more: CDAB is low word first
# nan = [0x7FFF] # raw values by which the device says "not available"
""",
    "serial": """
[link]
baud = 9600

[serial]
mode = "stream" # it speaks by itself; "request" is asked with `request`
frame = "binary"
start = "AA 55"
length = 8 # bytes in all
check = {{ kind = "sum8", start = 2, end = 7, at = 7 }}
"""
    + POINT
    + """offset = 2 # byte in the frame, from 0
type = "uint16"
""",
    "ble": """
[ble]
format = "bthome" # or "manufacturer" with company, "service" with uuid, "gatt"
"""
    + POINT
    + """object = 0x02 # id of the BTHome object
""",
    "coap": """
[coap]
mode = "poll" # or "observe"
"""
    + POINT
    + """path = "/sensor/value"
format = "text" # or "senml+cbor" with record, "json" and "cbor" with at
""",
}
EXCHANGE = {
    "modbus": ("01 03 00 00 00 01 84 0A", "01 03 02 08 FD 7E 05"),
    "serial": ("", "AA 55 08 FD 00 00 00 05"),
}


def skeleton(family: str, name: str, protocol: str) -> str:
    """The text of a profile family/vendor-model. Raises KeyError for a protocol without one."""
    vendor, _, model = name.partition("-")
    request, reply = EXCHANGE.get(protocol, ("", ""))
    text = HEAD + SKELETONS[protocol] + CAPTURE
    return text.format(
        family=family, vendor=vendor, model=model or vendor, protocol=protocol, request=request, reply=reply
    )
