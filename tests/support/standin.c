/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A Windows program that stands in for one that wine lacks: it says how it was called, and prints and returns what it is told. */
#define CALL __attribute__((ms_abi))
typedef void *Handle;
typedef unsigned Word;

CALL Word GetModuleFileNameA(Handle, char *, Word);
CALL char *GetCommandLineA(void);
CALL Word GetCurrentProcessId(void);
CALL Handle GetStdHandle(Word);
CALL Handle CreateFileA(const char *, Word, Word, Handle, Word, Word, Handle);
CALL int ReadFile(Handle, void *, Word, Word *, Handle);
CALL int WriteFile(Handle, const void *, Word, Word *, Handle);
CALL int CloseHandle(Handle);
CALL int MoveFileA(const char *, const char *);
CALL int DeleteFileA(const char *);
CALL void Sleep(Word);
CALL void ExitProcess(Word);

static Word length(const char *text) {
  Word count = 0;
  while (text[count]) count++;
  return count;
}

static void path(char *out, const char *start) {
  Word number = GetCurrentProcessId(), digits = 10;
  while (*start) *out++ = *start++;
  out[digits] = 0;
  while (digits--) {
    out[digits] = '0' + number % 10;
    number /= 10;
  }
}

CALL void start(void) {
  static char name[512], fresh[64], ask[64], answer[64], told[8192];
  const char *line = GetCommandLineA();
  Word count = 0, code = 0, at = 0;
  Handle file;
  path(fresh, "C:\\stand\\fresh.");
  path(ask, "C:\\stand\\ask.");
  path(answer, "C:\\stand\\answer.");
  GetModuleFileNameA(0, name, sizeof name);
  file = CreateFileA(fresh, 0x40000000, 7, 0, 2, 0x80, 0);
  WriteFile(file, name, length(name), &count, 0);
  WriteFile(file, "\n", 1, &count, 0);
  WriteFile(file, line, length(line), &count, 0);
  CloseHandle(file);
  MoveFileA(fresh, ask);
  while ((file = CreateFileA(answer, 0x80000000, 7, 0, 3, 0x80, 0)) == (Handle)-1) Sleep(3);
  ReadFile(file, told, sizeof told - 1, &count, 0);
  CloseHandle(file);
  DeleteFileA(answer);
  while (at < count && told[at] != '\n') code = code * 10 + (told[at++] - '0');
  if (at + 1 < count) WriteFile(GetStdHandle(-11), told + at + 1, count - at - 1, &count, 0);
  ExitProcess(code);
}
