/* Writes what a container prints into rotated files; containerd starts it as a `binary://` logger.
 * Fd 3 is the container's stdout, 4 its stderr, 5 is closed when ready. Arguments: KEY VALUE with VALUE
 * = MAXBYTES,MAXFILES,FOLDER (bytes 0: no rotation). Lines: TIME stdout|stderr F|P TEXT, P when the line
 * goes on in the next one (longer than 16 KiB). FOLDER/log is written, log.1 and up are older.
 * Ends when both streams have; ignores SIGTERM, which containerd sends while output is still in the pipes. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { LINE = 16384, HEAD = 64, OUT = 65536 };
static char held[2][LINE], out[OUT], path[4096];
static size_t held_len[2], out_len;
static int max_files, file = -1;
static long long max_bytes, size;

static void open_log(void) {
  struct stat s;
  file = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
  size = file >= 0 && fstat(file, &s) == 0 ? (long long)s.st_size : 0;
}

static void rotate(void) {
  char from[4200], to[4200];
  for (int i = max_files - 1; i >= 1; i--) {
    snprintf(to, sizeof to, "%s.%d", path, i);
    snprintf(from, sizeof from, i > 1 ? "%s.%d" : "%s", path, i - 1);
    rename(from, to);
  }
  if (max_files <= 1) unlink(path);
  close(file);
  open_log(); /* an old file that could not be moved is appended to: rather too big than lost */
}

/* Lines that a full disk refuses are lost, and one that it cut is taken back, so that none is torn. */
static void flush(void) {
  size_t done = 0;
  if (file < 0) open_log();
  while (file >= 0 && done < out_len) {
    ssize_t n = write(file, out + done, out_len - done);
    if (n <= 0) {
      while (done > 0 && out[done - 1] != '\n') done--;
      if (ftruncate(file, size + (long long)done) != 0) file = (close(file), -1);
      break;
    }
    done += (size_t)n;
  }
  size += (long long)done;
  out_len = 0;
  if (max_bytes > 0 && size >= max_bytes && file >= 0) rotate();
}

static void emit(const char *when, int stream, const char *text, size_t len, char tag) {
  if (out_len + HEAD + len + 1 > OUT) flush();
  out_len += (size_t)snprintf(out + out_len, HEAD, "%s %s %c ", when, stream ? "stderr" : "stdout", tag);
  memcpy(out + out_len, text, len);
  out[out_len + len] = '\n';
  out_len += len + 1;
}

static int drain(int stream) { /* returns 0 at the end of the stream */
  char when[48], *line = held[stream], *end, *stop;
  struct timespec now;
  ssize_t n = read(3 + stream, line + held_len[stream], LINE - held_len[stream]);
  clock_gettime(CLOCK_REALTIME, &now);
  strftime(when, sizeof when, "%Y-%m-%dT%H:%M:%S", gmtime(&now.tv_sec));
  snprintf(when + 19, sizeof when - 19, ".%09ldZ", now.tv_nsec);
  if (n > 0) held_len[stream] += (size_t)n;
  stop = line + held_len[stream];
  while ((end = memchr(line, '\n', (size_t)(stop - line))) != NULL) {
    emit(when, stream, line, (size_t)(end - line), 'F');
    line = end + 1;
  }
  held_len[stream] = (size_t)(stop - line);
  memmove(held[stream], line, held_len[stream]);
  if (held_len[stream] == LINE || (n <= 0 && held_len[stream] > 0)) {
    emit(when, stream, held[stream], held_len[stream], n <= 0 ? 'F' : 'P');
    held_len[stream] = 0;
  }
  flush();
  return n > 0;
}

int main(int argc, char **argv) {
  int at = 0;
  struct pollfd p[2] = {{3, POLLIN, 0}, {4, POLLIN, 0}};
  if (argc < 3 || sscanf(argv[2], "%lld,%d,%n", &max_bytes, &max_files, &at) < 2 || at == 0) return 2;
  snprintf(path, sizeof path, "%s/log", argv[2] + at);
  signal(SIGTERM, SIG_IGN);
  open_log();
  close(5);
  while (p[0].fd >= 0 || p[1].fd >= 0) {
    if (poll(p, 2, -1) < 0) continue;
    for (int i = 0; i < 2; i++) if (p[i].fd >= 0 && p[i].revents != 0 && !drain(i)) p[i].fd = -1;
  }
  return 0;
}
