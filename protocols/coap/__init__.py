"""CoAP sensors: polled or observed, through aiocoap."""
