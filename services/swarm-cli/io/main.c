#include "services/swarm-cli/io/cli.h"

int main(int argc, char **argv)
{
    struct cli cli = { 0 };
    int code = commands_main(&cli, argc - 1, argv + 1);
    cli_close(&cli);
    return code;
}
