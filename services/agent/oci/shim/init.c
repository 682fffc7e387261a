#include "shim.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The first process of a container with --init: starts the command, hands every signal on to it, and reaps what is orphaned. */
static pid_t start_command(char **argv, const sigset_t *mask)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)sigprocmask(SIG_SETMASK, mask, NULL);
    (void)setpgid(0, 0);
    (void)execvp(argv[0], argv);
    int saved = errno;
    (void)fprintf(stderr, "%s: %s\n", argv[0], strerror(saved));
    _exit(saved == ENOENT ? 127 : 126);
}

static bool reap(pid_t command, int *ret_code)
{
    int status;
    bool ended = false;
    for (pid_t pid = waitpid(-1, &status, WNOHANG); pid > 0; pid = waitpid(-1, &status, WNOHANG))
        if (pid == command) {
            *ret_code = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
            ended = true;
        }
    return ended;
}

int shim_init(int argc, char **argv)
{
    sigset_t all, before;
    int code = 1;
    if (argc > 1 && strcmp(argv[1], "--") == 0) {
        argc--;
        argv++;
    }
    if (argc < 2) {
        (void)fprintf(stderr, "docker-init: no command\n");
        return 125;
    }
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, &before);
    pid_t command = start_command(argv + 1, &before);
    if (command < 0)
        return 125;
    for (;;) {
        int number = sigwaitinfo(&all, NULL);
        if (number == SIGCHLD) {
            if (reap(command, &code))
                return code;
        } else if (number > 0 && number != SIGTTIN && number != SIGTTOU) {
            (void)kill(command, number);
        }
    }
}
