/* A plain polling loop on libmodbus: client PORT UNITS REGISTERS ROUNDS
 *
 * One connection, one block read a unit, values thrown away. Prints "seconds cpu_seconds readings" of the loop.
 */
#include <errno.h>
#include <modbus.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

static double seconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec + now.tv_nsec / 1e9;
}

static double cpu(void)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return used.ru_utime.tv_sec + used.ru_stime.tv_sec + (used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv)
{
    if (argc != 5)
        return fprintf(stderr, "client PORT UNITS REGISTERS ROUNDS\n"), 2;
    int units = atoi(argv[2]), registers = atoi(argv[3]), rounds = atoi(argv[4]);
    uint16_t values[125];
    long readings = 0;
    modbus_t *line = modbus_new_tcp("127.0.0.1", atoi(argv[1]));
    if (!line || modbus_connect(line))
        return fprintf(stderr, "%s\n", modbus_strerror(errno)), 1;
    double begun = seconds(), begun_cpu = cpu();
    for (int round = 0; round < rounds; round++)
        for (int unit = 1; unit <= units; unit++) {
            modbus_set_slave(line, unit);
            if (modbus_read_registers(line, 0, registers, values) != registers)
                return fprintf(stderr, "%s\n", modbus_strerror(errno)), 1;
            readings += registers;
        }
    printf("%.6f %.6f %ld\n", seconds() - begun, cpu() - begun_cpu, readings);
    modbus_close(line);
    modbus_free(line);
    return 0;
}
