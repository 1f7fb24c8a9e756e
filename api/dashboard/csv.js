/** Tables for spreadsheets. */

/** Rows of values as CSV. */
export const csv = (rows) => rows.map((row) => `${row.map(cell).join(",")}\n`).join("");

/** A value; a text that a spreadsheet would run as a formula is marked as text. */
function cell(value) {
  if (value == null) return "";
  if (typeof value !== "string") return String(value);
  const safe = /^[=+\-@\t\r]/.test(value) ? `'${value}` : value;
  return /[",\n\r]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
