"""Devices simulated from their own profiles: any compiled plan can be played by the devices it describes.

For the demo, training and tests. A simulated device speaks real bytes on a real socket or pseudo terminal; its Modbus
side is pymodbus's framers and PDUs, so that our own codec is never its own witness.
"""
