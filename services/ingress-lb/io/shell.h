/* shell - the daemon around core/lb: ingress.sock, the kernel, the saved table, the periodic look. */
#ifndef LB_SHELL_H
#define LB_SHELL_H

#include "common/service/svc.h"

struct shell_options {
    char *table;                /* name of our nft table */
    uint64_t check_interval_ms; /* between two looks at the kernel */
    bool cleanup;               /* take the table away and end */
};
struct shell;

int shell_open(struct svc *svc, const struct shell_options *options, struct shell **ret_shell, struct sw_err *err);
void shell_close(struct shell *shell); /* rules stay in the kernel; NULL is fine */
void shell_scrape(struct shell *shell);
bool shell_healthy(const struct shell *shell, char *why, size_t why_size);
/* --cleanup: nothing but the removal. */
int shell_cleanup(const struct shell_options *options, const char *state_dir, struct sw_err *err);

#endif
