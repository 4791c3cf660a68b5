/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/output.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/support.h"

static bool cannot_write(const char *path, int code)
{
    cli_complain("cannot write %s: %s", path, strerror(code));
    return false;
}

bool cli_output_begin(cli_output *output, const char *path)
{
    struct stat info;
    char *real = realpath(path, NULL);
    bool in_place = stat(path, &info) == 0 && !S_ISREG(info.st_mode);
    *output = (cli_output){.path = real != NULL ? real : cli_format("%s", path)};
    if (!in_place) {
        output->temporary = cli_format("%s.%ld.tmp", output->path, (long)getpid());
        (void)unlink(output->temporary); /* of a process that died with this number */
    }
    output->file = fopen(in_place ? path : output->temporary, in_place ? "w" : "wx");
    if (output->file != NULL && !in_place && stat(path, &info) == 0) {
        (void)fchmod(fileno(output->file), info.st_mode & 07777); /* of the old one */
    }
    if (output->file == NULL) {
        int code = errno;
        free(output->path);
        free(output->temporary);
        return cannot_write(path, code);
    }
    return true;
}

bool cli_output_probe(const char *path)
{
    struct stat info;
    cli_output output;
    if (stat(path, &info) == 0 && !S_ISREG(info.st_mode)) {
        /* A pipe must not be opened twice. */
        return access(path, W_OK) == 0 || cannot_write(path, errno);
    }
    if (!cli_output_begin(&output, path)) {
        return false;
    }
    (void)cli_output_end(&output, false);
    return true;
}

bool cli_output_end(cli_output *output, bool whole)
{
    int code = 0;
    errno = 0;
    if (fflush(output->file) != 0 || ferror(output->file) != 0) {
        code = errno != 0 ? errno : EIO;
    }
    if (fclose(output->file) != 0 && code == 0) {
        code = errno;
    }
    bool in_place = output->temporary == NULL;
    if (whole && code == 0 && !in_place &&
        rename(output->temporary, output->path) != 0) {
        code = errno;
    }
    if (!in_place && (!whole || code != 0)) {
        (void)unlink(output->temporary);
    }
    if (code != 0) {
        cannot_write(output->path, code);
    }
    free(output->path);
    free(output->temporary);
    return whole && code == 0;
}

int cli_finish(int status)
{
    errno = 0;
    bool lost = fflush(stdout) != 0;
    int code = errno;
    if (!lost && ferror(stdout) == 0) {
        return status;
    }
    if (code != 0) {
        cli_complain("cannot write to standard output: %s", strerror(code));
    } else {
        cli_complain("cannot write all to standard output");
    }
    return status == 0 ? 1 : status;
}
