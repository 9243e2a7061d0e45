"""What switches know of a phone, asked by SNMP: where it is plugged in, which VLAN it should use, and its power."""
