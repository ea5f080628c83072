// The page works without this script, by its link. The script takes the fragment along, which no server is told.
'use strict';
const link = document.querySelector('a');
location.replace(link.href + (location.hash && `&fragment=${encodeURIComponent(location.hash.slice(1))}`));
