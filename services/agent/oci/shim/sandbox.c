#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define OPTIONS_MAX 4000 /* mount(2) takes one page */

int shim_sandbox_hide(const struct shim_conf *conf, char *error)
{
    if (unshare(CLONE_NEWNS) != 0)
        return shim_error(error, "own mount namespace: %s", strerror(errno));
    /* Slave, not private: what the host unmounts later must not be held by us. */
    if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) != 0)
        return shim_error(error, "mount propagation: %s", strerror(errno));
    for (size_t i = 0; i < conf->hide_count; i++)
        if (umount2(conf->hide[i], MNT_DETACH) != 0 && errno != EINVAL && errno != ENOENT)
            return shim_error(error, "hide %s: %s", conf->hide[i], strerror(errno));
    return 0;
}

struct layer_fds {
    int fds[SHIM_LAYERS_MAX + 2];
    size_t count;
};

static void close_layers(struct layer_fds *opened)
{
    while (opened->count > 0)
        (void)close(opened->fds[--opened->count]);
}

static int open_layer(struct layer_fds *opened, const char *path, char *error)
{
    int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return shim_error(error, "layer %s: %s", path, strerror(errno));
    opened->fds[opened->count++] = fd;
    return fd;
}

/* Layers are named by descriptor numbers relative to /proc/self/fd: a page of options then holds all 128 of them. */
static int layer_options(const struct shim_conf *conf, struct layer_fds *opened, char *options, char *error)
{
    size_t len = (size_t)snprintf(options, OPTIONS_MAX, "lowerdir=");
    for (size_t i = 0; i < conf->layer_count; i++) {
        int fd = open_layer(opened, conf->layers[i], error);
        if (fd < 0)
            return -1;
        len += (size_t)snprintf(options + len, OPTIONS_MAX - len, "%s%d", i != 0 ? ":" : "", fd);
    }
    int upper = open_layer(opened, "upper", error);
    int work = upper >= 0 ? open_layer(opened, "work", error) : -1;
    if (work < 0)
        return -1;
    (void)snprintf(options + len, OPTIONS_MAX - len, ",upperdir=%d,workdir=%d", upper, work);
    return 0;
}

static int mount_overlay(const char *root, char *options, char *error)
{
    /* A container's upper layer is used once and never after a crash of the host: no sync is needed (Linux 5.10). */
    size_t plain = strlen(options);
    memcpy(options + plain, ",volatile", sizeof ",volatile");
    if (mount("overlay", root, "overlay", 0, options) == 0)
        return 0;
    options[plain] = '\0';
    if (errno == EINVAL && mount("overlay", root, "overlay", 0, options) == 0)
        return 0;
    return shim_error(error, "mount overlay root: %s", strerror(errno));
}

static int mount_root(const struct shim_conf *conf, char *error)
{
    char options[OPTIONS_MAX + 16], bundle[4096], root[4200];
    struct layer_fds opened = { .count = 0 };
    if (conf->layer_count == 0)
        return 0;
    if (getcwd(bundle, sizeof bundle) == NULL)
        return shim_error(error, "bundle: %s", strerror(errno));
    (void)snprintf(root, sizeof root, "%s/rootfs", bundle);
    int rc = layer_options(conf, &opened, options, error);
    if (rc == 0 && chdir("/proc/self/fd") != 0)
        rc = shim_error(error, "/proc/self/fd: %s", strerror(errno));
    if (rc == 0)
        rc = mount_overlay(root, options, error);
    close_layers(&opened);
    if (chdir(bundle) != 0)
        return shim_error(error, "%s: %s", bundle, strerror(errno));
    return rc;
}

static bool dir_empty(const char *path)
{
    DIR *dir = opendir(path);
    if (dir == NULL)
        return false;
    size_t count = 0;
    while (count < 3 && readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count <= 2;
}

/* Opens `target` as the container will see it: links in the image cannot lead out of its root. */
static int open_in_root(const char *target)
{
    int root = open("rootfs", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return -1;
    struct open_how how = { .flags = O_RDONLY | O_DIRECTORY, .resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS };
    int fd = (int)syscall(SYS_openat2, root, target, &how, sizeof how);
    (void)close(root);
    return fd;
}

static int copy_tree(int from, const char *to, char *error)
{
    char source[64];
    (void)snprintf(source, sizeof source, "/proc/self/fd/%d/.", from);
    char *argv[] = { (char *)"cp", (char *)"-a", (char *)"--", source, (char *)to, NULL };
    char *env[] = { (char *)"PATH=/usr/bin:/bin", NULL };
    pid_t pid;
    int status = -1;
    int rc = posix_spawnp(&pid, "cp", NULL, NULL, argv, env);
    if (rc != 0)
        return shim_error(error, "copy to volume: %s", strerror(rc));
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status == 0 ? 0 : shim_error(error, "copy the image's content to volume %s failed", to);
}

/* Two tasks may meet at a new volume: the lock lets the second one find it filled. */
static int fill_volume(const char *volume, const char *target, char *error)
{
    char data[4096];
    int lock = open(volume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (lock < 0 || flock(lock, LOCK_EX) != 0) {
        if (lock >= 0)
            (void)close(lock);
        return shim_error(error, "volume %s: %s", volume, strerror(errno));
    }
    (void)snprintf(data, sizeof data, "%s/_data", volume);
    int rc = 0;
    int from = open_in_root(target);
    if (from >= 0 && dir_empty(data))
        rc = copy_tree(from, data, error);
    if (from >= 0)
        (void)close(from);
    (void)close(lock);
    return rc;
}

static int fill_volumes(const struct shim_conf *conf, char *error)
{
    for (size_t i = 0; i < conf->copy_count; i++) {
        char *pair = strdup(conf->copies[i]);
        char *tab = pair != NULL ? strchr(pair, '\t') : NULL;
        int rc = -1;
        if (tab != NULL) {
            *tab = '\0';
            rc = fill_volume(pair, tab + 1, error);
        } else {
            (void)shim_error(error, "copy: no target");
        }
        free(pair);
        if (rc != 0)
            return rc;
    }
    return 0;
}

int shim_sandbox(const struct shim_conf *conf, char *error)
{
    if (unshare(CLONE_NEWNET) != 0)
        return shim_error(error, "own network namespace: %s", strerror(errno));
    if (shim_sandbox_hide(conf, error) != 0 || mount_root(conf, error) != 0)
        return -1;
    return fill_volumes(conf, error);
}

/* net.* belong to the network namespace, which is ours: set here, because runtimes refuse them in a namespace they did not make.
 */
int shim_sysctls(const struct shim_conf *conf, char *error)
{
    for (size_t i = 0; i < conf->sysctl_count; i++) {
        char path[512];
        const char *value = strchr(conf->sysctls[i], '=');
        if (value == NULL || value == conf->sysctls[i])
            return shim_error(error, "sysctl '%s' has no value", conf->sysctls[i]);
        (void)snprintf(path, sizeof path, "/proc/sys/%.*s", (int)(value - conf->sysctls[i]), conf->sysctls[i]);
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool done = fd >= 0 && write(fd, value + 1, strlen(value + 1)) >= 0;
        int saved = errno;
        if (fd >= 0)
            (void)close(fd);
        if (!done)
            return shim_error(error, "sysctl %s: %s", conf->sysctls[i], strerror(saved));
    }
    return 0;
}
