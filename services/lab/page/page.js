'use strict';
// Page is what the scripts of all pages use.
const Page = (() => {
  const data = JSON.parse(document.getElementById('data').textContent);

  // Numbers. The space before a unit does not break.
  function number(value, options) {
    return new Intl.NumberFormat('en-US', options).format(value);
  }
  function fixed(value, digits) {
    return number(value, { minimumFractionDigits: digits, maximumFractionDigits: digits });
  }
  function percent(value) {
    return `${fixed(100 * value, value !== 0 && Math.abs(value) < 0.0995 ? 2 : 1)}\u00a0%`;
  }
  function multiple(value) {
    return `${fixed(value, value < 99.95 ? 2 : 1)}\u00a0×`;
  }
  // A rate has three significant digits.
  function rate(value) {
    return number(value, { maximumSignificantDigits: 3 });
  }
  const brief = (value) => number(value, { notation: 'compact', maximumSignificantDigits: 3 }).replace(/[KM]/, (unit) => `\u00a0${unit === 'K' ? 'k' : unit}`);
  const shortPercent = (value) => `${number(100 * value, { maximumSignificantDigits: 3 })}\u00a0%`;
  function count(n, one, many) {
    return `${number(n)} ${n === 1 ? one : many}`;
  }
  function list(words) {
    return words.length < 2 ? words.join('') : `${words.slice(0, -1).join(', ')} and ${words.at(-1)}`;
  }
  const isNumber = (value) => typeof value === 'number' && Number.isFinite(value);
  const numbers = (values) => values.filter(isNumber);

  // Elements. Text from the data is never parsed as HTML.
  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  document.getElementById('version').textContent = Chart.version;
  return { data, number, fixed, percent, multiple, rate, brief, shortPercent, count, list, isNumber, numbers, element };
})();
