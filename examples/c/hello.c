// A C program for a container: prints its arguments and a file of the container, and exits with the code it is given.
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    printf("Hello from C, compiled to WebAssembly\n");
    for (int i = 1; i < argc; i++) {
        printf("argument %d: %s\n", i, argv[i]);
    }

    FILE *file = fopen("/etc/hostname", "r");
    char name[256];
    if (file && fgets(name, sizeof name, file)) {
        printf("running in pod %s", name);
    }
    if (file) {
        fclose(file);
    }

    const char *code = getenv("EXIT_CODE");
    return code ? atoi(code) : 0;
}
