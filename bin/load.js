// Its own file, since a Node that is too old does not parse it.
module.exports = function (url) {
  return import(url);
};
