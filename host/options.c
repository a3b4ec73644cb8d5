// SPDX-License-Identifier: MIT
/*
 * options: see options.h
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <grp.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <linux/virtio_gpu_userptr.h>

#include "memory/page_uses.h"
#include "util/log.h"
#include "vhost/virtqueue.h"

#define PROGRAM_VERSION "0.1"
#define DEFAULT_HOST_VISIBLE (UINT64_C(256) << 20)
#define DEFAULT_GRACE_MS 2000
#define MAX_GRACE_MS 3600000
#define DEFAULT_RESET_TIMEOUT 30
#define MAX_RESET_TIMEOUT 86400
/* A guest has no use for more, and the sums of offsets and sizes stay far from wrapping. */
#define MAX_HOST_VISIBLE (UINT64_C(1) << 40)

/* What fits in a request after the largest command that entries follow. */
#define MAX_ENTRIES                                                                 \
	((VIRTQUEUE_MAX_REQUEST - sizeof(struct virtio_gpu_resource_create_blob)) / \
	 sizeof(struct virtio_gpu_mem_entry))
_Static_assert(sizeof(struct virtio_gpu_resource_create_blob) >=
			       sizeof(struct virtio_gpu_resource_create_userptr) &&
		       sizeof(struct virtio_gpu_resource_create_blob) >=
			       sizeof(struct virtio_gpu_resource_add_userptr_pages),
	       "no command with entries is larger");

/* Options without a short form. */
enum option_id {
	OPT_SOCKET = 256,
	OPT_SOCKET_MODE,
	OPT_SOCKET_GROUP,
	OPT_FD,
	OPT_RESET_TIMEOUT,
	OPT_LOOPBACK,
	OPT_VIRGL,
	OPT_NATIVE_CONTEXT,
	OPT_RENDER_NODE,
	OPT_AMDGPU_USERPTR,
	OPT_HOST_VISIBLE,
	OPT_GRACE,
	OPT_NO_USERPTR,
	OPT_NO_RDONLY,
#ifdef DEVICE_TESTING
	OPT_ACCESS_PLATFORM,
	OPT_ALLOW_INJECT,
#endif
	OPT_MAX_USERPTR_BYTES,
	OPT_MAX_SEGMENTS,
	OPT_MAX_ENTRIES,
	OPT_MAX_TOTAL_SEGMENTS,
	OPT_MAX_TOTAL_BYTES,
	OPT_MAX_KERNEL_BYTES,
	OPT_MAX_RESOURCES,
	OPT_MAX_PAGE_USES,
	OPT_MAX_MAPPINGS,
	OPT_MAX_BLOBS,
	OPT_MAX_CONTEXTS,
	OPT_MAX_ATTACHMENTS,
	OPT_MAX_GPU_BYTES,
	OPT_MAX_GPU_BUFFERS,
	OPT_MAX_VA_MAPPINGS,
	OPT_MAX_JOBS,
	OPT_RENDER_SERVER,
	OPT_SANDBOX,
	OPT_VERBOSE,
	OPT_VERSION,
	OPT_HELP = 'h',
};

static const struct option long_options[] = {
	{ "socket", required_argument, NULL, OPT_SOCKET },
	{ "socket-mode", required_argument, NULL, OPT_SOCKET_MODE },
	{ "socket-group", required_argument, NULL, OPT_SOCKET_GROUP },
	{ "fd", required_argument, NULL, OPT_FD },
	{ "reset-timeout", required_argument, NULL, OPT_RESET_TIMEOUT },
	{ "loopback", no_argument, NULL, OPT_LOOPBACK },
	{ "virgl", no_argument, NULL, OPT_VIRGL },
	{ "native-context", required_argument, NULL, OPT_NATIVE_CONTEXT },
	{ "render-node", required_argument, NULL, OPT_RENDER_NODE },
	{ "amdgpu-userptr", required_argument, NULL, OPT_AMDGPU_USERPTR },
	{ "host-visible", required_argument, NULL, OPT_HOST_VISIBLE },
	{ "grace", required_argument, NULL, OPT_GRACE },
	{ "no-userptr", no_argument, NULL, OPT_NO_USERPTR },
	{ "no-rdonly", no_argument, NULL, OPT_NO_RDONLY },
#ifdef DEVICE_TESTING
	{ "access-platform", no_argument, NULL, OPT_ACCESS_PLATFORM },
	{ "allow-inject", no_argument, NULL, OPT_ALLOW_INJECT },
#endif
	{ "max-userptr-bytes", required_argument, NULL, OPT_MAX_USERPTR_BYTES },
	{ "max-segments", required_argument, NULL, OPT_MAX_SEGMENTS },
	{ "max-entries", required_argument, NULL, OPT_MAX_ENTRIES },
	{ "max-total-segments", required_argument, NULL, OPT_MAX_TOTAL_SEGMENTS },
	{ "max-total-bytes", required_argument, NULL, OPT_MAX_TOTAL_BYTES },
	{ "max-kernel-bytes", required_argument, NULL, OPT_MAX_KERNEL_BYTES },
	{ "max-resources", required_argument, NULL, OPT_MAX_RESOURCES },
	{ "max-page-uses", required_argument, NULL, OPT_MAX_PAGE_USES },
	{ "max-mappings", required_argument, NULL, OPT_MAX_MAPPINGS },
	{ "max-blobs", required_argument, NULL, OPT_MAX_BLOBS },
	{ "max-contexts", required_argument, NULL, OPT_MAX_CONTEXTS },
	{ "max-attachments", required_argument, NULL, OPT_MAX_ATTACHMENTS },
	{ "max-gpu-bytes", required_argument, NULL, OPT_MAX_GPU_BYTES },
	{ "max-gpu-buffers", required_argument, NULL, OPT_MAX_GPU_BUFFERS },
	{ "max-va-mappings", required_argument, NULL, OPT_MAX_VA_MAPPINGS },
	{ "max-jobs", required_argument, NULL, OPT_MAX_JOBS },
	{ "render-server", required_argument, NULL, OPT_RENDER_SERVER },
	{ "sandbox", required_argument, NULL, OPT_SANDBOX },
	{ "verbose", no_argument, NULL, OPT_VERBOSE },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static const char help_text[] =
	"Usage: " PROGRAM_NAME " --socket PATH | --fd N\n"
	"       --virgl | --render-node PATH | --loopback [OPTION]...\n"
	"A vhost-user virtio-gpu device with userptr blob resources.\n"
	"\n"
	"The VMM's connection, one of:\n"
	"  --socket PATH           listen at PATH for one VMM at a time; a socket left\n"
	"                          behind there is replaced, one in use is an error\n"
	"  --socket-mode OCTAL     of that socket (default 0660 with --socket-group, else\n"
	"                          what the umask says)\n"
	"  --socket-group NAME     of that socket: a group, or its number\n"
	"  --fd N                  use the inherited UNIX stream socket N: listening, or\n"
	"                          connected (then exit when the VMM hangs up)\n"
	"  --reset-timeout S       seconds that a VMM which resets the device waits until\n"
	"                          the guest's memory is let go of, before it is hung up\n"
	"                          on; 0 is for ever (default 30)\n"
	"\n"
	"What is offered to the guest, at least one of the first three, or\n"
	"--native-context=amdgpu:\n"
	"  --virgl                 offer the contexts of libvirglrenderer: Venus, and DRM\n"
	"                          native contexts if the library has them.  Userptr\n"
	"                          resources are offered then if there is /dev/udmabuf\n"
	"  --render-node PATH      offer amdgpu native contexts on that GPU (default with\n"
	"                          --virgl: the first that is an amdgpu)\n"
	"  --loopback              offer the reference context, in which the CPU plays\n"
	"                          the GPU\n"
	"  --native-context WHOSE  auto (default): amdgpu native contexts of this program\n"
	"                          where it was built with libdrm_amdgpu, and --virgl or\n"
	"                          --render-node is given, and an amdgpu is there;\n"
	"                          else those that libvirglrenderer has.\n"
	"                          amdgpu: the same, but without them it does not start.\n"
	"                          virgl: those of libvirglrenderer, whose versions up to\n"
	"                          1.3.0 have bugs there that a guest can reach.\n"
	"                          off: none\n"
	"  --amdgpu-userptr HOW    how amdgpu contexts of this program reach userptr\n"
	"                          resources.  userptr: as addresses, which pins nothing\n"
	"                          on the host, not with --virgl; dmabuf: as dma-bufs of\n"
	"                          /dev/udmabuf; auto (default): as addresses if there are\n"
	"                          mappings left, else as dma-bufs, which with --virgl all\n"
	"                          are that may be written to\n"
	"  --host-visible SIZE     bytes of the region in which the guest sees memory of\n"
	"                          the host, whole pages; K, M or G may follow, 0 is\n"
	"                          none (default 256M with contexts of a GPU, else 0)\n"
	"  --no-userptr            do not offer userptr resources\n"
	"  --no-rdonly             do not accept read-only userptr resources\n"
	"\n"
	"Limits:\n"
	"  --grace MS              milliseconds that a context may keep memory that the\n"
	"                          guest wants back, before it is ended (default 2000)\n"
	"  --max-userptr-bytes N   bytes of one userptr resource; K, M or G may follow\n"
	"                          (default 64G)\n"
	"  --max-segments N        entries of one userptr resource (default 4194304)\n"
	"  --max-entries N         entries of one command, at most 524284\n"
	"                          (default 16384)\n"
	"  --max-total-segments N  room for pieces of all resources together (default one\n"
	"                          for each page of --max-total-bytes, at most 16777216)\n"
	"  --max-total-bytes N     bytes of all userptr resources together; K, M or G may\n"
	"                          follow (default twice the guest's RAM)\n"
	"  --max-kernel-bytes N    bytes of the host kernel for their dma-bufs; K, M or G\n"
	"                          may follow (default what --max-total-bytes of pages in\n"
	"                          --max-resources dma-bufs take)\n"
	"  --max-resources N       userptr resources (default one for each 64K of the\n"
	"                          guest's RAM, at least 1024 and at most 65536)\n"
	"  --max-page-uses N       dma-bufs that one page may be in, at most 4096 (default\n"
	"                          1024)\n"
	"  --max-mappings N        mappings of this process by resources that a GPU reaches\n"
	"                          as addresses, one for each piece and one for each\n"
	"                          resource (default three quarters of vm.max_map_count)\n"
	"  --max-blobs N           blobs (default 65536)\n"
	"  --max-contexts N        contexts (default 256, libvirglrenderer has no more)\n"
	"  --max-attachments N     resources attached to contexts; one context may have a\n"
	"                          quarter of them (default 262144)\n"
	"  --max-gpu-bytes N       bytes of buffers in amdgpu native contexts, of any kind\n"
	"                          of memory; K, M or G may follow (default twice what the\n"
	"                          GPU has and can reach)\n"
	"  --max-gpu-buffers N     number of these\n"
	"  --max-va-mappings N     ranges of the GPU's address spaces that are mapped\n"
	"  --max-jobs N            jobs that were submitted to a GPU and are not over\n"
	"\n"
	"Running:\n"
	"  --render-server PATH    the program that libvirglrenderer's Venus contexts live\n"
	"                          in (default: RENDER_SERVER_EXEC_PATH in the environment,\n"
	"                          or /usr/libexec/virgl_render_server)\n"
	"  --sandbox MODE          auto (default): this program and the render server\n"
	"                          give up what they do not need, as far as the kernel\n"
	"                          has the means, and a line at the start says what;\n"
	"                          off: for debuggers\n"
	"  --verbose               one line on stderr per event\n"
	"  -h, --help              this text\n"
	"  --version               the version\n"
	"\n"
#ifdef DEVICE_TESTING
	"For tests, in this program only:\n"
	"  --access-platform       offer VIRTIO_F_ACCESS_PLATFORM\n"
	"  --allow-inject          let the reference context arm faults\n"
	"\n"
#endif
	"SIGTERM and SIGINT end the program; SIGUSR1 prints statistics to stdout, as\n"
	"does the end, one \"name: value\" a line.  Exit status: 0, 1 if something\n"
	"failed, 2 if the command line is wrong.\n";

static int usage_error(const char *what, const char *option, const char *value)
{
	log_error("--%s '%s': %s", option, value, what);
	log_error("try --help");
	return EXIT_USAGE;
}

/* The bytes that a suffix stands for, or 0. */
static uint64_t suffix_factor(const char *suffix)
{
	if (!*suffix)
		return 1;
	if (suffix[1])
		return 0;
	switch (*suffix) {
	case 'K':
	case 'k':
		return UINT64_C(1) << 10;
	case 'M':
	case 'm':
		return UINT64_C(1) << 20;
	case 'G':
	case 'g':
		return UINT64_C(1) << 30;
	default:
		return 0;
	}
}

/* A number from @min to @max; @suffixes: K, M or G may follow.  0 or EXIT_USAGE. */
static int parse_number(const char *option, const char *text, uint64_t min, uint64_t max,
			bool suffixes, uint64_t *to)
{
	char range[96];
	uint64_t value, factor;
	char *end;

	/* strtoull() would take a sign and leading space. */
	if (*text < '0' || *text > '9')
		return usage_error("not a number", option, text);
	errno = 0;
	value = strtoull(text, &end, 0);
	factor = suffixes ? suffix_factor(end) : !*end;
	if (!factor)
		return usage_error(suffixes ? "not a number, or one with K, M or G after it" :
					      "not a number",
				   option, text);
	if (errno == ERANGE || value > UINT64_MAX / factor || value * factor < min ||
	    value * factor > max) {
		snprintf(range, sizeof(range), "must be from %" PRIu64 " to %" PRIu64, min, max);
		return usage_error(range, option, text);
	}
	*to = value * factor;
	return 0;
}

static int parse_u32(const char *option, const char *text, uint32_t max, uint32_t *to)
{
	uint64_t value;
	int err = parse_number(option, text, 1, max, false, &value);

	if (!err)
		*to = (uint32_t)value;
	return err;
}

/* The place of @text in the @nr @words, or a negative number, and that was said. */
static int parse_word(const char *option, const char *text, const char *const words[], int nr)
{
	char must_be[96] = "must be ";
	int i;

	for (i = 0; i < nr; i++) {
		if (!strcmp(text, words[i]))
			return i;
		strcat(must_be, words[i]);
		strcat(must_be, i < nr - 2 ? ", " : i == nr - 2 ? " or " : "");
	}
	usage_error(must_be, option, text);
	return -1;
}

static int parse_native_limit(struct native_limits *limits, int id, const char *name,
			      const char *text)
{
	switch (id) {
	case OPT_MAX_GPU_BYTES:
		return parse_number(name, text, 4096, UINT64_MAX, true, &limits->bytes);
	case OPT_MAX_GPU_BUFFERS:
		return parse_u32(name, text, UINT32_MAX, &limits->buffers);
	case OPT_MAX_VA_MAPPINGS:
		return parse_u32(name, text, UINT32_MAX, &limits->va_mappings);
	default:
		return parse_u32(name, text, UINT32_MAX, &limits->jobs);
	}
}

static int parse_limit(struct gpu_limits *limits, int id, const char *name, const char *text)
{
	switch (id) {
	case OPT_MAX_USERPTR_BYTES:
		return parse_number(name, text, 4096, UINT64_MAX, true, &limits->max_userptr_bytes);
	case OPT_MAX_SEGMENTS:
		return parse_u32(name, text, UINT32_MAX, &limits->max_segments);
	case OPT_MAX_ENTRIES:
		return parse_u32(name, text, MAX_ENTRIES, &limits->max_entries);
	case OPT_MAX_TOTAL_SEGMENTS:
		return parse_number(name, text, 1, UINT64_MAX, false, &limits->memory.total_runs);
	case OPT_MAX_TOTAL_BYTES:
		return parse_number(name, text, 4096, UINT64_MAX, true,
				    &limits->memory.total_bytes);
	case OPT_MAX_KERNEL_BYTES:
		return parse_number(name, text, 4096, UINT64_MAX, true,
				    &limits->memory.kernel_bytes);
	case OPT_MAX_RESOURCES:
		return parse_u32(name, text, UINT32_MAX, &limits->memory.resources);
	case OPT_MAX_PAGE_USES:
		return parse_u32(name, text, PAGE_USES_MAX, &limits->memory.page_uses);
	case OPT_MAX_MAPPINGS:
		/* The smallest resource takes two. */
		return parse_number(name, text, 2, UINT64_MAX, false, &limits->memory.mappings);
	case OPT_MAX_BLOBS:
		return parse_u32(name, text, UINT32_MAX, &limits->max_blobs);
	case OPT_MAX_CONTEXTS:
		return parse_u32(name, text, UINT32_MAX, &limits->max_contexts);
	default:
		return parse_u32(name, text, UINT32_MAX, &limits->max_attachments);
	}
}

static int parse_host_visible(struct options *options, const char *name, const char *text)
{
	int err = parse_number(name, text, 0, MAX_HOST_VISIBLE, true, &options->gpu.host_visible);

	if (!err && options->gpu.host_visible % (uint64_t)sysconf(_SC_PAGESIZE))
		err = usage_error("not a number of whole pages", name, text);
	options->host_visible = true;
	return err;
}

/* As the library's own programs are told, so that whoever starts it need not ask us. */
static int parse_render_server(const char *name, const char *path)
{
	if (*path != '/')
		return usage_error("not an absolute path", name, path);
	return setenv("RENDER_SERVER_EXEC_PATH", path, 1) ? EXIT_RUNTIME : 0;
}

static int parse_sandbox(struct options *options, const char *name, const char *text)
{
	if (!strcmp(text, "auto"))
		options->sandbox = SANDBOX_AUTO;
	else if (!strcmp(text, "off"))
		options->sandbox = SANDBOX_OFF;
	else
		return usage_error("must be auto or off", name, text);
	return 0;
}

static int parse_native(struct gpu_config *gpu, int id, const char *name, const char *text)
{
	static const char *const whose[] = {
		[GPU_NATIVE_AUTO] = "auto",
		[GPU_NATIVE_AMDGPU] = "amdgpu",
		[GPU_NATIVE_VIRGL] = "virgl",
		[GPU_NATIVE_OFF] = "off",
	};
	static const char *const how[] = {
		[GPU_AMDGPU_AUTO] = "auto",
		[GPU_AMDGPU_DMABUF] = "dmabuf",
		[GPU_AMDGPU_USERPTR] = "userptr",
	};
	int word;

	if (id == OPT_RENDER_NODE) {
		if (*text != '/')
			return usage_error("not an absolute path", name, text);
		gpu->render_node = text;
		return 0;
	}
	if (id == OPT_NATIVE_CONTEXT) {
		word = parse_word(name, text, whose, 4);
		gpu->native_context = (enum gpu_native_context)word;
	} else {
		word = parse_word(name, text, how, 3);
		gpu->amdgpu_userptr = (enum gpu_amdgpu_userptr)word;
	}
	return word < 0 ? EXIT_USAGE : 0;
}

static int parse_mode(const char *option, const char *text, int *to)
{
	if (!*text || strlen(text) > 4 || strspn(text, "01234567") != strlen(text))
		return usage_error("not an octal number", option, text);
	*to = (int)strtol(text, NULL, 8);
	return *to > 0777 ? usage_error("must be from 0 to 0777", option, text) : 0;
}

static int parse_group(const char *option, const char *text, gid_t *to)
{
	const struct group *group;
	uint64_t value;
	int err;

	if (*text >= '0' && *text <= '9') {
		err = parse_number(option, text, 0, INT_MAX, false, &value);
		if (!err)
			*to = (gid_t)value;
		return err;
	}
	group = getgrnam(text);
	if (!group)
		return usage_error("there is no such group", option, text);
	*to = group->gr_gid;
	return 0;
}

/* What is offered, and limits. */
static int parse_gpu_option(struct options *options, int id, const char *name)
{
	switch (id) {
	case OPT_LOOPBACK:
		options->gpu.loopback = true;
		return 0;
	case OPT_VIRGL:
		options->gpu.virgl = true;
		return 0;
	case OPT_NATIVE_CONTEXT:
	case OPT_RENDER_NODE:
	case OPT_AMDGPU_USERPTR:
		return parse_native(&options->gpu, id, name, optarg);
	case OPT_HOST_VISIBLE:
		return parse_host_visible(options, name, optarg);
	case OPT_NO_USERPTR:
		options->gpu.userptr = false;
		return 0;
	case OPT_NO_RDONLY:
		options->gpu.userptr_rdonly = false;
		return 0;
#ifdef DEVICE_TESTING
	case OPT_ACCESS_PLATFORM:
		options->gpu.access_platform = true;
		return 0;
	case OPT_ALLOW_INJECT:
		options->gpu.allow_inject = true;
		return 0;
#endif
	case OPT_MAX_GPU_BYTES:
	case OPT_MAX_GPU_BUFFERS:
	case OPT_MAX_VA_MAPPINGS:
	case OPT_MAX_JOBS:
		return parse_native_limit(&options->gpu.native, id, name, optarg);
	default:
		return parse_limit(&options->gpu.limits, id, name, optarg);
	}
}

static int parse_option(struct options *options, int id, const char *name)
{
	uint64_t value;
	int err;

	switch (id) {
	case OPT_SOCKET:
		options->socket = optarg;
		return 0;
	case OPT_SOCKET_MODE:
		return parse_mode(name, optarg, &options->access.mode);
	case OPT_SOCKET_GROUP:
		return parse_group(name, optarg, &options->access.group);
	case OPT_FD:
		err = parse_number(name, optarg, 0, INT_MAX, false, &value);
		if (!err)
			options->fd = (int)value;
		return err;
	case OPT_RESET_TIMEOUT:
		err = parse_number(name, optarg, 0, MAX_RESET_TIMEOUT, false, &value);
		if (!err)
			options->reset_timeout = (unsigned int)value;
		return err;
	case OPT_GRACE:
		err = parse_number(name, optarg, 0, MAX_GRACE_MS, false, &value);
		if (!err)
			options->gpu.grace_ms = (unsigned int)value;
		return err;
	case OPT_RENDER_SERVER:
		return parse_render_server(name, optarg);
	case OPT_SANDBOX:
		return parse_sandbox(options, name, optarg);
	case OPT_VERBOSE:
		options->gpu.verbose = true;
		return 0;
	default:
		return parse_gpu_option(options, id, name);
	}
}

/* Whether our own contexts for amdgpu are asked for by name. */
static bool names_amdgpu(const struct gpu_config *gpu)
{
	return gpu->render_node || gpu->native_context == GPU_NATIVE_AMDGPU;
}

/* What contradicts itself, or is not in this program; or NULL. */
static const char *native_error(const struct gpu_config *gpu)
{
	if (gpu->native_context == GPU_NATIVE_VIRGL && !gpu->virgl)
		return "--native-context=virgl is about the contexts of --virgl";
	if (gpu->render_node &&
	    (gpu->native_context == GPU_NATIVE_VIRGL || gpu->native_context == GPU_NATIVE_OFF))
		return "--render-node is for this program's own native contexts, which "
		       "--native-context does not let be";
	if (gpu->amdgpu_userptr == GPU_AMDGPU_USERPTR && gpu->virgl)
		return "--amdgpu-userptr=userptr cannot be had with --virgl, whose contexts need "
		       "dma-bufs";
#ifndef HAVE_AMDGPU
	if (names_amdgpu(gpu))
		return "--render-node and --native-context=amdgpu: this program was built without "
		       "libdrm_amdgpu (2.4.121 or newer, with its headers: libdrm-dev)";
#endif
	return NULL;
}

static int check_options(const struct options *options, int argc, char **argv)
{
	if (optind < argc) {
		log_error("'%s': not an option", argv[optind]);
		goto usage;
	}
	if (!options->socket == (options->fd < 0)) {
		log_error("exactly one of --socket and --fd is needed");
		goto usage;
	}
	if (options->socket && !*options->socket) {
		log_error("--socket '': no path");
		goto usage;
	}
	if (!options->socket && (options->access.mode >= 0 || options->access.group != (gid_t)-1)) {
		log_error("--socket-mode and --socket-group are about what --socket names");
		goto usage;
	}
	/* Without contexts a guest can do nothing with what the device offers. */
	if (!options->gpu.virgl && !options->gpu.loopback && !names_amdgpu(&options->gpu)) {
		log_error("at least one of --virgl, --render-node and --loopback is needed");
		goto usage;
	}
	if (native_error(&options->gpu)) {
		log_error("%s", native_error(&options->gpu));
		goto usage;
	}
#ifndef HAVE_VIRGLRENDERER
	if (options->gpu.virgl) {
		log_error("--virgl: this program was built without libvirglrenderer (1.1.0 or "
			  "newer, with its headers: libvirglrenderer-dev)");
		goto usage;
	}
#endif
	return 0;

usage:
	log_error("try --help");
	return EXIT_USAGE;
}

static void set_defaults(struct options *options)
{
	*options = (struct options){
		.access = { .mode = -1, .group = (gid_t)-1 },
		.fd = -1,
		.reset_timeout = DEFAULT_RESET_TIMEOUT,
		.sandbox = SANDBOX_AUTO,
		.gpu = {
			.limits = {
				.max_userptr_bytes = UINT64_C(64) << 30,
				.max_segments = 4194304,
				.max_entries = 16384,
			},
			.userptr = true,
			.userptr_rdonly = true,
			.grace_ms = DEFAULT_GRACE_MS,
		},
	};
}

bool options_parse(struct options *options, int argc, char **argv, int *status)
{
	int id, index;

	set_defaults(options);
	while ((id = getopt_long(argc, argv, "h", long_options, &index)) != -1) {
		switch (id) {
		case '?':
			/* getopt_long() has named it. */
			log_error("try --help");
			*status = EXIT_USAGE;
			return false;
		case OPT_HELP:
			fputs(help_text, stdout);
			*status = EXIT_OK;
			return false;
		case OPT_VERSION:
			puts(PROGRAM_NAME " " PROGRAM_VERSION);
			*status = EXIT_OK;
			return false;
		default:
			*status = parse_option(options, id, long_options[index].name);
			if (*status)
				return false;
		}
	}
	*status = check_options(options, argc, argv);
	if ((options->gpu.virgl || names_amdgpu(&options->gpu)) && !options->host_visible)
		options->gpu.host_visible = DEFAULT_HOST_VISIBLE;
	return !*status;
}
