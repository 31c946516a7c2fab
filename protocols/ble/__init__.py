"""Bluetooth Low Energy sensors: adverts by declared offsets, BTHome v2, GATT."""
