/* libmodbus serving the device of register_map.py, every value encoded by libmodbus.
 *
 *   modbus_server tcp PORT     prints its port; one client after the other
 *   modbus_server rtu DEVICE   prints "ready"; 115200 8N1, unit 17
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <modbus/modbus.h>

#define UNIT 17

/* modbus_set_float puts the low word first. The functions named after an order (..._abcd) are not used: libmodbus 3.1.6
 * swaps the bytes of each word in all four, later ones do not. */
static void put_float(float value, int high_first, int bytes_swapped, uint16_t *dest)
{
    uint16_t words[2];
    int i;

    modbus_set_float(value, words);
    for (i = 0; i < 2; i++) {
        uint16_t word = words[high_first ? 1 - i : i];
        dest[i] = bytes_swapped ? (uint16_t) (word << 8 | word >> 8) : word;
    }
}

static modbus_mapping_t *device(void)
{
    modbus_mapping_t *map = modbus_mapping_new(32, 32, 200, 200);
    const int32_t total = -123456789, low_first_total = 2000000001;
    const int64_t energy = -9876543210123LL;
    uint16_t low_first[2];

    if (map == NULL)
        return NULL;
    put_float(36.625f, 1, 0, map->tab_registers + 0);
    put_float(-607.597f, 0, 0, map->tab_registers + 2);
    put_float(230.2f, 1, 1, map->tab_registers + 4);
    put_float(1.5e-3f, 0, 1, map->tab_registers + 6);
    MODBUS_SET_INT32_TO_INT16(map->tab_registers, 8, total);
    MODBUS_SET_INT32_TO_INT16(low_first, 0, low_first_total);
    map->tab_registers[10] = low_first[1];
    map->tab_registers[11] = low_first[0];
    MODBUS_SET_INT64_TO_INT16(map->tab_registers, 12, energy);
    map->tab_registers[20] = 65534;
    map->tab_registers[21] = (uint16_t) -127;
    map->tab_registers[22] = 0x8002;
    map->tab_registers[23] = 0xFFFF;
    put_float(1013.25f, 1, 0, map->tab_input_registers + 100);
    map->tab_input_registers[102] = 65535;
    map->tab_bits[3] = 1;
    map->tab_input_bits[11] = 1;
    return map;
}

static int answer(modbus_t *bus, modbus_mapping_t *map)
{
    uint8_t query[MODBUS_TCP_MAX_ADU_LENGTH];
    int length = modbus_receive(bus, query);

    if (length > 0)
        return modbus_reply(bus, query, length, map);
    return length;
}

static int serve_tcp(modbus_mapping_t *map, int port)
{
    modbus_t *bus = modbus_new_tcp("127.0.0.1", port);
    struct sockaddr_in own;
    socklen_t size = sizeof own;
    int listener = bus == NULL ? -1 : modbus_tcp_listen(bus, 1);

    if (listener < 0 || getsockname(listener, (struct sockaddr *) &own, &size) < 0) {
        perror("listen");
        return 1;
    }
    printf("%d\n", ntohs(own.sin_port));
    fflush(stdout);
    while (modbus_tcp_accept(bus, &listener) >= 0) {
        while (answer(bus, map) >= 0)
            ;
        modbus_close(bus);
    }
    return 0;
}

static int serve_rtu(modbus_mapping_t *map, const char *path)
{
    modbus_t *bus = modbus_new_rtu(path, 115200, 'N', 8, 1);

    if (bus == NULL || modbus_set_slave(bus, UNIT) < 0 || modbus_connect(bus) < 0) {
        perror(path);
        return 1;
    }
    modbus_flush(bus); /* a device hears nothing of what was said while it was off */
    printf("ready\n");
    fflush(stdout);
    for (;;)
        answer(bus, map); /* a request that cannot be read is dropped: the next one may be good */
}

int main(int argc, char **argv)
{
    modbus_mapping_t *map = device();

    if (argc != 3 || map == NULL)
        return 2;
    if (strcmp(argv[1], "rtu") == 0)
        return serve_rtu(map, argv[2]);
    return serve_tcp(map, atoi(argv[2]));
}
