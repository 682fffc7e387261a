#include "services/ingress-lb/io/nft.h"

#include "common/base/buf.h"

#include <arpa/inet.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <netlink/attr.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/socket.h>
#include <nftables/libnftables.h>
#include <stdlib.h>
#include <string.h>

struct nft {
    struct nft_ctx *ctx;
    struct nl_sock *sock;
    uint64_t generation; /* of the last answer */
};

/* NFTA_GEN_ID of the answer to NFT_MSG_GETGEN. */
static int on_generation(struct nl_msg *msg, void *arg)
{
    struct nft *nft = arg;
    struct nlattr *attr = nlmsg_find_attr(nlmsg_hdr(msg), sizeof(struct nfgenmsg), NFTA_GEN_ID);
    if (attr != NULL && nla_len(attr) == sizeof(uint32_t))
        nft->generation = ntohl(nla_get_u32(attr));
    return NL_OK;
}

int nft_open(struct nft **ret_nft, struct sw_err *err)
{
    SW_AUTO(nft_close) struct nft *nft = sw_alloc0(sizeof *nft);
    nft->ctx = nft_ctx_new(NFT_CTX_DEFAULT);
    if (nft->ctx == NULL || nft_ctx_buffer_output(nft->ctx) != 0 || nft_ctx_buffer_error(nft->ctx) != 0)
        return sw_fail(err, SW_NOMEM, "open nftables");
    nft->sock = nl_socket_alloc();
    if (nft->sock == NULL)
        return sw_fail(err, SW_NOMEM, "open a netlink socket");
    int rc = nl_connect(nft->sock, NETLINK_NETFILTER);
    if (rc < 0)
        return sw_fail(err, SW_IO, "open netfilter socket: %s", nl_geterror(rc));
    (void)nl_socket_modify_cb(nft->sock, NL_CB_VALID, NL_CB_CUSTOM, on_generation, nft);
    *ret_nft = SW_TAKE(nft);
    return 0;
}

void nft_close(struct nft *nft)
{
    if (nft == NULL)
        return;
    if (nft->ctx != NULL)
        nft_ctx_free(nft->ctx);
    nl_socket_free(nft->sock);
    free(nft);
}

int nft_apply(struct nft *nft, const char *text, struct sw_err *err)
{
    if (nft_run_cmd_from_buffer(nft->ctx, text) == 0) {
        (void)nft_ctx_get_output_buffer(nft->ctx); /* reading empties it */
        return 0;
    }
    const char *said = nft_ctx_get_error_buffer(nft->ctx);
    int line = (int)strcspn(said, "\n");
    enum sw_code code = strstr(said, "Operation not permitted") != NULL ? SW_DENIED : SW_IO;
    return sw_fail(err, code, "nftables: %.*s", line, line > 0 ? said : "transaction refused");
}

bool nft_hash(struct nft *nft, const char *name, uint64_t *ret_hash)
{
    SW_AUTO_BUF command = { 0 };
    sw_buf_addf(&command, "list table inet %s", name);
    if (nft_run_cmd_from_buffer(nft->ctx, command.data) != 0) {
        (void)nft_ctx_get_error_buffer(nft->ctx);
        return false;
    }
    uint64_t hash = UINT64_C(0xcbf29ce484222325); /* FNV-1a: no adversary here, root can always change our table */
    for (const char *c = nft_ctx_get_output_buffer(nft->ctx); *c != '\0'; c++)
        hash = (hash ^ (unsigned char)*c) * UINT64_C(0x100000001b3);
    *ret_hash = hash;
    return true;
}

int nft_generation(struct nft *nft, uint64_t *ret_generation, struct sw_err *err)
{
    struct nfgenmsg head = { .nfgen_family = AF_UNSPEC, .version = NFNETLINK_V0 };
    int rc = nl_send_simple(nft->sock, NFNL_SUBSYS_NFTABLES << 8 | NFT_MSG_GETGEN, 0, &head, sizeof head);
    if (rc >= 0)
        rc = nl_recvmsgs_default(nft->sock);
    if (rc >= 0)
        rc = nl_wait_for_ack(nft->sock);
    if (rc < 0)
        return sw_fail(err, rc == -NLE_PERM ? SW_DENIED : SW_IO, "ask for the rule generation: %s", nl_geterror(rc));
    *ret_generation = nft->generation;
    return 0;
}
