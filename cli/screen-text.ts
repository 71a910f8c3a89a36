/** What of a text a terminal of so many rows and columns has room for; what is left out below is counted. */
export function screenText(text: string, rows: number, columns: number): string {
  const lines = text.trimEnd().split('\n');
  const shown =
    lines.length <= rows
      ? lines
      : [...lines.slice(0, rows - 1), `... ${lines.length - rows + 1} more`];
  return shown.map((line) => line.slice(0, columns)).join('\n');
}
