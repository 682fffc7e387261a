#include "shim.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static void cut_stdio(void)
{
    int null = open("/dev/null", O_RDWR);
    for (int fd = 0; fd < 3; fd++)
        (void)dup2(null, fd);
    if (null > 2)
        (void)close(null);
}

/* In the daemon: everything that can fail happens before the parent is told. */
static int daemon_main(const struct shim_conf *conf, int report)
{
    char error[SHIM_ERROR_MAX] = "";
    int listener = -1;
    (void)setsid();
    (void)prctl(PR_SET_CHILD_SUBREAPER, 1);
    (void)umask(022);
    if (conf->socket_dir == NULL || conf->socket_name == NULL)
        (void)shim_error(error, "shim.conf: no socket");
    else if (shim_sandbox(conf, error) == 0)
        listener = shim_listen(conf, error);
    if (listener < 0) {
        (void)!write(report, error, strlen(error));
        return 1;
    }
    cut_stdio();
    (void)!write(report, "ok", 2);
    (void)close(report);
    shim_serve(conf, listener);
    return 0;
}

static int launch(const struct shim_conf *conf)
{
    char text[SHIM_ERROR_MAX] = "";
    int report[2];
    if (pipe2(report, O_CLOEXEC) != 0)
        return 1;
    pid_t pid = fork();
    if (pid == 0) {
        (void)close(report[0]);
        _exit(daemon_main(conf, report[1]));
    }
    (void)close(report[1]);
    ssize_t len = pid > 0 ? read(report[0], text, sizeof text - 1) : -1;
    if (len == 2 && strcmp(text, "ok") == 0) {
        (void)printf("%d\n", (int)pid);
        return 0;
    }
    (void)fprintf(stderr, "%s\n", len > 0 ? text : "the container's monitor ended at once");
    return 1;
}

/* A throw-away container, in the foreground: does this runtime work here? Its own messages tell why not. */
static int probe(const struct shim_conf *conf)
{
    char error[SHIM_ERROR_MAX];
    if (shim_sandbox(conf, error) != 0) {
        (void)fprintf(stderr, "%s\n", error);
        return 1;
    }
    (void)execl(conf->runtime, conf->runtime, "--root", conf->runtime_root, "run", conf->id, (char *)NULL);
    perror(conf->runtime);
    return 127;
}

static int delete_only(const struct shim_conf *conf)
{
    char error[SHIM_ERROR_MAX];
    if (shim_sandbox_hide(conf, error) != 0) {
        (void)fprintf(stderr, "%s\n", error);
        return 1;
    }
    (void)shim_runtime_delete(conf); /* of an unknown container: nothing to do */
    return 0;
}

static int usage(FILE *to)
{
    (void)fprintf(to, "usage: swarm-shim [--probe | --delete] BUNDLE\n"
                      "Keeps one container of swarm-agent, which starts it. As docker-init: COMMAND [ARG...].\n");
    return to == stdout ? 0 : 125;
}

int main(int argc, char **argv)
{
    static struct shim_conf conf;
    char error[SHIM_ERROR_MAX];
    const char *base = strrchr(argv[0], '/');
    if (strcmp(base != NULL ? base + 1 : argv[0], "docker-init") == 0)
        return shim_init(argc, argv);
    if (argc == 2 && strcmp(argv[1], "--version") == 0)
        return printf("swarm-shim %s\n", SHIM_VERSION) > 0 ? 0 : 1;
    if (argc == 2 && strcmp(argv[1], "--help") == 0)
        return usage(stdout);
    const char *mode = argc == 3 ? argv[1] : "";
    if (argc < 2 || argc > 3 || (argc == 3 && strcmp(mode, "--probe") != 0 && strcmp(mode, "--delete") != 0))
        return usage(stderr);
    if (chdir(argv[argc - 1]) != 0) {
        perror(argv[argc - 1]);
        return 1;
    }
    if (shim_conf_load("shim.conf", &conf, error) != 0) {
        (void)fprintf(stderr, "%s\n", error);
        return 1;
    }
    if (strcmp(mode, "--probe") == 0)
        return probe(&conf);
    if (strcmp(mode, "--delete") == 0)
        return delete_only(&conf);
    return launch(&conf);
}
