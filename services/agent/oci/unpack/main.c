#include "services/agent/oci/unpack/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

struct paths {
    char temp[4096], fs[4200], size[4200], final[4096];
};

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
    (void)st;
    (void)flag;
    (void)ftw;
    (void)remove(path);
    return 0;
}

/* In a child, because a chroot is for good. */
static int unpack_inside(int fd, const char *fs, const char *digest, const char *size_path)
{
    char error[UNPACK_ERROR_MAX] = "";
    uint64_t bytes = 0;
    int size_fd = open(size_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (size_fd < 0 || chroot(fs) != 0 || chdir("/") != 0) {
        (void)fprintf(stderr, "%s: %s\n", fs, strerror(errno));
        return 1;
    }
    if (unpack_stream(fd, digest, &bytes, error) != 0) {
        (void)fprintf(stderr, "%s\n", error);
        return 1;
    }
    if (dprintf(size_fd, "%llu\n", (unsigned long long)bytes) < 0 || syncfs(size_fd) != 0) {
        (void)fprintf(stderr, "sync: %s\n", strerror(errno));
        return 1;
    }
    return 0;
}

static int run(int fd, const struct paths *paths, const char *digest)
{
    int status = -1;
    (void)umask(0);
    if (mkdir(paths->temp, 0700) != 0 || mkdir(paths->fs, 0755) != 0) {
        (void)fprintf(stderr, "%s: %s\n", paths->fs, strerror(errno));
        return 1;
    }
    pid_t pid = fork();
    if (pid == 0)
        _exit(unpack_inside(fd, paths->fs, digest, paths->size));
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0)
        return 1;
    /* Another image with the same layer may have been quicker: theirs is as good. */
    if (rename(paths->temp, paths->final) != 0 && errno != EEXIST && errno != ENOTEMPTY) {
        (void)fprintf(stderr, "%s: %s\n", paths->final, strerror(errno));
        return 1;
    }
    return 0;
}

int main(int argc, char **argv)
{
    static struct paths paths;
    if (argc != 4 || strlen(argv[3]) != 64 || strspn(argv[3], "0123456789abcdef") != 64) {
        (void)fprintf(stderr, "usage: swarm-unpack ARCHIVE LAYERS SHA256\n");
        return 125;
    }
    int fd = open(argv[1], O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        (void)fprintf(stderr, "%s: %s\n", argv[1], strerror(errno));
        return 1;
    }
    (void)snprintf(paths.final, sizeof paths.final, "%s/%s", argv[2], argv[3]);
    (void)snprintf(paths.temp, sizeof paths.temp, "%s/%s.%d.tmp", argv[2], argv[3], (int)getpid());
    (void)snprintf(paths.fs, sizeof paths.fs, "%s/fs", paths.temp);
    (void)snprintf(paths.size, sizeof paths.size, "%s/size", paths.temp);
    int rc = run(fd, &paths, argv[3]);
    (void)nftw(paths.temp, remove_one, 64, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
    return rc;
}
