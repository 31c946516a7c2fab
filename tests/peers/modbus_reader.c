/* libmodbus as a master: reads single values and prints one a line.
 *
 *   modbus_reader tcp HOST:PORT UNIT ITEM...
 *   modbus_reader rtu DEVICE:BAUD UNIT ITEM...
 *
 * ITEM is FUNCTION:ADDRESS:TYPE; TYPE is bit, uint16, int32_abcd, int32_cdab, float_abcd or float_cdab. An item that the device refuses is
 * printed as libmodbus's words for it, after "!".
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <modbus/modbus.h>

static int read_item(modbus_t *bus, int function, int address, const char *type)
{
    uint16_t words[2] = {0, 0}, low_first[2];
    uint8_t bit = 0;
    int count = strcmp(type, "uint16") == 0 ? 1 : 2;
    int got;

    if (function == 1)
        got = modbus_read_bits(bus, address, 1, &bit);
    else if (function == 2)
        got = modbus_read_input_bits(bus, address, 1, &bit);
    else if (function == 3)
        got = modbus_read_registers(bus, address, count, words);
    else
        got = modbus_read_input_registers(bus, address, count, words);
    if (got < 0)
        return -1;
    low_first[0] = words[1];
    low_first[1] = words[0];
    if (function < 3)
        printf("%d\n", bit);
    else if (count == 1)
        printf("%u\n", words[0]);
    else if (strncmp(type, "int32", 5) == 0)
        printf("%d\n", strcmp(type, "int32_cdab") == 0 ? MODBUS_GET_INT32_FROM_INT16(low_first, 0)
                                                       : MODBUS_GET_INT32_FROM_INT16(words, 0));
    else
        printf("%.9g\n", modbus_get_float(strcmp(type, "float_cdab") == 0 ? words : low_first));
    return 0;
}

int main(int argc, char **argv)
{
    modbus_t *bus;
    char *colon = argc > 3 ? strrchr(argv[2], ':') : NULL;
    int i, function, address;
    char type[16];

    if (colon == NULL)
        return 2;
    *colon = '\0';
    if (strcmp(argv[1], "rtu") == 0)
        bus = modbus_new_rtu(argv[2], atoi(colon + 1), 'N', 8, 1);
    else
        bus = modbus_new_tcp(argv[2], atoi(colon + 1));
    if (bus == NULL || modbus_set_slave(bus, atoi(argv[3])) < 0)
        return 2;
    modbus_set_response_timeout(bus, 20, 0);
    modbus_set_byte_timeout(bus, 5, 0);
    if (modbus_connect(bus) < 0) {
        perror(argv[2]);
        return 1;
    }
    for (i = 4; i < argc; i++) {
        if (sscanf(argv[i], "%d:%d:%15s", &function, &address, type) != 3)
            return 2;
        if (read_item(bus, function, address, type) < 0)
            printf("! %s\n", modbus_strerror(errno));
    }
    return 0;
}
