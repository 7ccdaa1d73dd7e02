/* SPDX-License-Identifier: GPL-3.0-or-later
 *
 * A stand-in for VMware's libvixDiskLib: just what nbdkit's vddk plugin calls, over a local raw file. VDDK_FILES maps names to files
 * ("name=file;name=file"), VDDK_LOG gets a line for each call that matters, VDDK_FAIL makes connections fail.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

typedef uint64_t Error;
typedef struct { uint32_t cylinders, heads, sectors; } Geometry;
typedef struct { Geometry bios, physical; uint64_t capacity; int adapter, links; char *hint, *uuid; uint32_t logical, physical_size; } Info;
typedef struct { uint32_t count; struct { uint64_t offset, length; } blocks[]; } Blocks;
typedef struct { int fd; uint64_t sectors; } Handle;

static const char text[] = "stand-in: the server refuses";

static void note(const char *what, const char *first, const char *second)
{
	const char *path = getenv("VDDK_LOG");
	FILE *out = path ? fopen(path, "a") : NULL;
	if (out) {
		fprintf(out, "%s %s %s\n", what, first ? first : "-", second ? second : "-");
		fclose(out);
	}
}

Error VixDiskLib_InitEx(uint32_t major, uint32_t minor, void *log, void *warn, void *panic, const char *libdir, const char *config) { return 0; }
void VixDiskLib_Exit(void) {}
char *VixDiskLib_GetErrorText(Error error, const char *locale) { return strdup(text); }
void VixDiskLib_FreeErrorText(char *error) { free(error); }
void *VixDiskLib_AllocateConnectParams(void) { return calloc(1, 1024); }
void VixDiskLib_FreeConnectParams(void *params) { free(params); }

Error VixDiskLib_ConnectEx(const void *params, char read_only, const char *snapshot, const char *transports, void **connection)
{
	note("connect", snapshot, transports);
	if (getenv("VDDK_FAIL"))
		return 18000;
	*connection = malloc(1);
	return 0;
}

Error VixDiskLib_Disconnect(void *connection) { free(connection); return 0; }

Error VixDiskLib_Open(void *connection, const char *path, uint32_t flags, void **handle)
{
	char *files = strdup(getenv("VDDK_FILES") ? getenv("VDDK_FILES") : ""), *rest = files, *pair;
	int fd = -1;
	note("open", path, NULL);
	while ((pair = strsep(&rest, ";"))) {
		char *equals = strrchr(pair, '=');
		if (equals && (size_t)(equals - pair) == strlen(path) && !strncmp(pair, path, equals - pair))
			fd = open(equals + 1, O_RDONLY);
	}
	free(files);
	if (fd < 0)
		return 4;
	struct stat status;
	fstat(fd, &status);
	Handle *made = malloc(sizeof *made);
	made->fd = fd;
	made->sectors = status.st_size / 512;
	*handle = made;
	return 0;
}

Error VixDiskLib_Close(void *handle) { close(((Handle *)handle)->fd); free(handle); return 0; }
const char *VixDiskLib_GetTransportMode(void *handle) { return "nbdssl"; }
const char *VixDiskLib_ListTransportModes(void) { return "file:nbdssl:nbd"; }

Error VixDiskLib_GetInfo(void *handle, Info **info)
{
	*info = calloc(1, sizeof **info);
	(*info)->capacity = ((Handle *)handle)->sectors;
	(*info)->links = 1;
	(*info)->logical = (*info)->physical_size = 512;
	return 0;
}

Error VixDiskLib_FreeInfo(Info *info) { free(info); return 0; }

Error VixDiskLib_Read(void *handle, uint64_t start, uint64_t count, uint8_t *buffer)
{
	return pread(((Handle *)handle)->fd, buffer, count * 512, start * 512) == (ssize_t)(count * 512) ? 0 : 1;
}

Error VixDiskLib_Write(void *handle, uint64_t start, uint64_t count, const uint8_t *buffer) { return 2; }

Error VixDiskLib_ReadAsync(void *handle, uint64_t start, uint64_t count, uint8_t *buffer, void (*done)(void *, Error), void *data)
{
	done(data, VixDiskLib_Read(handle, start, count, buffer));
	return 25000; /* VIX_ASYNC */
}

Error VixDiskLib_WriteAsync(void *handle, uint64_t start, uint64_t count, const uint8_t *buffer, void (*done)(void *, Error), void *data)
{
	done(data, 2);
	return 25000;
}

Error VixDiskLib_Flush(void *handle) { return 0; }
Error VixDiskLib_Wait(void *handle) { return 0; }
Error VixDiskLib_Create(void *connection, const char *path, void *params, void *progress, void *data) { return 2; }

Error VixDiskLib_QueryAllocatedBlocks(void *handle, uint64_t start, uint64_t count, uint64_t chunk, Blocks **list)
{
	uint8_t *buffer = malloc(chunk * 512);
	*list = malloc(sizeof **list + 16 * (count / chunk + 1));
	(*list)->count = 0;
	for (uint64_t at = start; at < start + count; at += chunk) {
		ssize_t got = pread(((Handle *)handle)->fd, buffer, chunk * 512, at * 512), used = 0;
		while (used < got && !buffer[used])
			used++;
		if (used < got) {
			(*list)->blocks[(*list)->count].offset = at;
			(*list)->blocks[(*list)->count++].length = chunk;
		}
	}
	free(buffer);
	return 0;
}

Error VixDiskLib_FreeBlockList(Blocks *list) { free(list); return 0; }
