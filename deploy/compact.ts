/**
 * A source without comments and without spaces at the end of lines; what is left stays where it was, so that lines and
 * columns hold. A thread keeps the text of all it loads, and a fifth of it is this. Goes by lines and not by tokens: a
 * text in which something else than a comment may go over several lines is left as it is.
 */
export function compact(source: string): string {
  const lines: string[] = [];
  let inComment = false;
  for (const line of source.split('\n')) {
    const text = line.trim();
    if (inComment || text.startsWith('/*')) {
      const end = text.indexOf('*/', inComment ? 0 : 2);
      inComment = end < 0;
      lines.push('');
      if (!inComment && text.length > end + 2) return source;
    } else if (text.startsWith('//')) lines.push('');
    else if (mayGoOn(line)) return source;
    else lines.push(line.trimEnd());
  }
  return lines.join('\n');
}

/** Whether a template, a string or a comment may be open at the end of a line of code. */
function mayGoOn(line: string): boolean {
  return (
    line.split('`').length % 2 === 0 ||
    line.includes('${`') ||
    line.endsWith('\\') ||
    line.lastIndexOf('/*') > line.lastIndexOf('*/')
  );
}
